import { createHash, createPublicKey } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { createCa, csrPublicKey, issue, type KeyPair, keyPem, newKey } from '../../standin/pki/certificates.ts';

export interface Seen {
  method: string;
  path: string;
  authorization: string | undefined;
  nodeName: string | undefined;
  password: string | undefined;
  ips: string | undefined;
  /** Common name of the client certificate, if one was shown and it verifies. */
  client: string | undefined;
}

export interface SupervisorOptions {
  /** Names in the server's certificate. */
  names?: string[];
  /** Life of the server's certificate; below 0: it has ended. */
  days?: number;
  /** Life of what it issues. */
  issueDays?: number;
  ca?: KeyPair;
  /** What `/cacerts` shows instead of the CA that signed the server. */
  shownCa?: string;
  /** Ignores requests and hands out its own key, as 1.21 does. */
  old?: boolean;
  port?: number;
}

export interface Supervisor {
  url: string;
  port: number;
  token: string;
  ca: KeyPair;
  clientCa: KeyPair;
  seen: Seen[];
  /** Answers a request instead of the usual way; undefined: the usual way. */
  intercept: (seen: Seen) => { status: number; body?: string; type?: string } | undefined;
  nodes: Set<string>;
  passwords: Map<string, string>;
  close(): Promise<void>;
}

export const PASSWORD = 'very-secret-password';
const BASIC = `Basic ${Buffer.from(`node:${PASSWORD}`).toString('base64')}`;
export const BOOTSTRAP = 'abcdef.0123456789abcdef';

/** A supervisor just large enough to join, strict about who asks, whose every answer a test can replace. */
export async function startSupervisor(options: SupervisorOptions = {}): Promise<Supervisor> {
  const ca = options.ca ?? createCa('k3s-server-ca@1');
  const clientCa = createCa('k3s-client-ca@1');
  const key = newKey();
  const shared = newKey();
  const days = options.days ?? 365;
  const cert = issue(ca, {
    subject: { commonName: 'k3s', organizations: ['k3s'] },
    publicKey: createPublicKey(key),
    usage: 'server',
    names: options.names ?? ['127.0.0.1', 'localhost'],
    days,
  });
  const shownCa = options.shownCa ?? ca.cert;
  const hash = createHash('sha256').update(shownCa).digest('hex');
  const self: Supervisor = {
    url: '',
    port: 0,
    token: `K10${hash}::server:${PASSWORD}`,
    ca,
    clientCa,
    seen: [],
    intercept: () => undefined,
    nodes: new Set(),
    passwords: new Map(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const server: Server = createServer(
    { cert: cert + ca.cert, key: keyPem(key), requestCert: true, rejectUnauthorized: false, ca: clientCa.cert },
    (request, response) => void handle(request, response).catch(() => response.destroy()),
  );

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const socket = request.socket as TLSSocket;
    const seen: Seen = {
      method: request.method ?? '',
      path: request.url ?? '',
      authorization: request.headers.authorization,
      nodeName: request.headers['k3s-node-name'] as string | undefined,
      password: request.headers['k3s-node-password'] as string | undefined,
      ips: request.headers['k3s-node-ip'] as string | undefined,
      client: socket.authorized ? String(socket.getPeerCertificate().subject?.CN) : undefined,
    };
    self.seen.push(seen);
    const answer = self.intercept(seen) ?? usual(seen, Buffer.concat(chunks));
    response.writeHead(answer.status, { 'content-type': answer.type ?? 'text/plain' });
    response.end(answer.body ?? '');
  }

  function usual(seen: Seen, body: Buffer): { status: number; body?: string; type?: string } {
    if (seen.path === '/cacerts') return { status: 200, body: shownCa };
    if (seen.path === '/ping') return { status: 200, body: 'pong' };
    const byCertificate = seen.authorization === undefined && seen.client?.startsWith('system:node:') && !options.old;
    const byToken = seen.authorization === BASIC || seen.authorization === `Bearer ${BOOTSTRAP}`;
    if (!byCertificate && !byToken) return refusal(seen.client && options.old ? 403 : 401, 'not authorized');
    if (seen.path === '/v1-k3s/config') return { status: 200, body: JSON.stringify(CONFIG), type: 'application/json' };
    if (seen.path === '/v1-k3s/client-ca.crt') return { status: 200, body: clientCa.cert };
    if (seen.path === '/v1-k3s/server-ca.crt') return { status: 200, body: ca.cert };
    const name = /^\/v1-k3s\/([\w-]+)\.crt$/.exec(seen.path)?.[1] ?? '';
    if (name === 'serving-kubelet' || name === 'client-kubelet') {
      const node = seen.nodeName ?? '';
      if (byCertificate && seen.client !== `system:node:${node}`) return refusal(400, 'names differ');
      if (byCertificate && !self.nodes.has(node)) return refusal(401, 'unable to verify node identity');
      const known = self.passwords.get(node);
      if (known !== undefined && known !== seen.password)
        return refusal(403, `unable to verify password for node ${node}: hash does not match`);
      self.passwords.set(node, seen.password ?? '');
    }
    const isServing = name === 'serving-kubelet';
    const subjects: Record<string, { commonName: string; organizations?: string[] }> = {
      'serving-kubelet': { commonName: seen.nodeName ?? '' },
      'client-kubelet': { commonName: `system:node:${seen.nodeName}`, organizations: ['system:nodes'] },
      'client-kube-proxy': { commonName: 'system:kube-proxy' },
      'client-k3s-controller': { commonName: 'system:k3s-controller' },
    };
    const subject = subjects[name];
    if (!subject) return refusal(404, 'not found');
    const signer = isServing ? ca : clientCa;
    const leaf = issue(signer, {
      subject,
      publicKey: options.old ? createPublicKey(shared) : csrPublicKey(body),
      usage: isServing ? 'server' : 'client',
      ...(isServing
        ? { names: [seen.nodeName ?? '', 'localhost', '127.0.0.1', ...(seen.ips ?? '').split(',').filter(Boolean)] }
        : {}),
      days: options.issueDays ?? 365,
    });
    return { status: 200, body: leaf + signer.cert + (options.old ? keyPem(shared) : '') };
  }

  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  self.port = (server.address() as AddressInfo).port;
  self.url = `https://127.0.0.1:${self.port}`;
  return self;
}

function refusal(status: number, message: string) {
  return {
    status,
    type: 'application/json',
    body: JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: status }),
  };
}

const CONFIG = {
  ClusterIPRange: { IP: '10.42.0.0', Mask: '//8AAA==' },
  ServiceIPRange: { IP: '10.43.0.0', Mask: '//8AAA==' },
  ServiceNodePortRange: { Base: 30000, Size: 2768 },
  ClusterDNS: '10.43.0.10',
  ClusterDomain: 'cluster.local',
  HTTPSPort: 6443,
  SupervisorPort: 6443,
  FlannelBackend: 'vxlan',
  IPSECPSK: '00'.repeat(48),
};
