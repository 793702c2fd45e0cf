import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import type { Call } from '../api/context.ts';
import { K } from '../kinds.ts';
import { as } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import { badRequest, notFound, StatusError } from '../status.ts';
import { kubeletPath } from './paths.ts';

/** Logs, exec, attach, port-forward and node proxies: requests that end at a node's kubelet, through its tunnel. */
export interface KubeletProxy {
  serve(call: Call): Promise<void>;
  /** The same for a request that asks for another protocol; `client` is the bare connection. */
  upgrade(call: Omit<Call, 'response'>, client: Duplex, head: Buffer): Promise<void>;
}

export interface KubeletProxyOptions {
  registry: Registry;
  /** A connection to the kubelet's port on a node, as the tunnel gives it. Throws without a session. */
  dial(node: string, port: number): Duplex;
  /** The API server's client certificate, and what must have signed the kubelet's. PEM. */
  credentials: { cert: string; key: string; ca: string };
}

const CONNECT_MS = 30_000;

export function createKubeletProxy(options: KubeletProxyOptions): KubeletProxy {
  const { registry } = options;

  async function connect(node: Node): Promise<TLSSocket> {
    const name = node.metadata?.name ?? '';
    const address = kubeletAddress(node);
    const failed = (error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      const { port } = address;
      return new StatusError({
        code: 502,
        reason: 'InternalError',
        message: `error dialing backend: proxy error from 127.0.0.1:6443 while dialing ${address.host}:${port}, code 502: 502 Bad Gateway: ${why}`,
      });
    };
    let raw: Duplex;
    try {
      raw = options.dial(name, address.port);
    } catch (error) {
      throw failed(error);
    }
    return new Promise((resolve, reject) => {
      const socket = tlsConnect({
        socket: raw,
        ...options.credentials,
        host: address.host,
        servername: '',
        ALPNProtocols: ['http/1.1'],
      });
      const timer = setTimeout(() => socket.destroy(new Error('i/o timeout')), CONNECT_MS);
      raw.on('error', (error) => socket.destroy(error));
      raw.on('close', () => socket.destroy());
      const give = (error: unknown) => {
        clearTimeout(timer);
        socket.destroy();
        reject(failed(error));
      };
      socket.once('error', give);
      socket.once('close', () => give(new Error('EOF')));
      socket.once('secureConnect', () => {
        clearTimeout(timer);
        socket.removeListener('error', give);
        socket.removeAllListeners('close');
        resolve(socket);
      });
    });
  }

  function target(call: Omit<Call, 'response'>): { node: Node; url: string } {
    const { kind, namespace, name = '' } = call.path;
    if (kind.kind === 'Node') {
      const node = as<Node>(registry.get(K.nodes, undefined, name));
      const query = call.query.toString();
      return { node, url: (call.path.rest || '/') + (query ? `?${query}` : '') };
    }
    const pod = as<Pod>(registry.get(K.pods, namespace, name));
    const url = kubeletPath(pod, call.path.subresource ?? '', call.query);
    const nodeName = pod.spec?.nodeName;
    if (!nodeName) throw badRequest(`pod ${name} does not have a host assigned`);
    const node = registry.store.get(K.nodes, undefined, nodeName);
    if (!node) throw notFound(K.nodes, nodeName);
    return { node: as<Node>(node), url };
  }

  return {
    async serve(call) {
      const { node, url } = target(call);
      const socket = await connect(node);
      await forward({ socket, url, host: kubeletAddress(node).host, call });
    },
    async upgrade(call, client, head) {
      const { node, url } = target(call);
      const protocols = String(call.request.headers['sec-websocket-protocol'] ?? '');
      // Between WebSocket clients of this kind and kubelets without that ability the API server translates to SPDY;
      // refusing makes kubectl speak SPDY by itself.
      const translated = /v5\.channel\.k8s\.io|SPDY\/3\.1\+portforward/.test(protocols);
      if (translated && !declares(node, 'ExtendWebSocketsToKubelet'))
        throw badRequest('this server passes SPDY through; WebSocket upgrades need a kubelet that declares them');
      const socket = await connect(node);
      passThrough({ socket, url, host: kubeletAddress(node).host, request: call.request, client, head });
    },
  };
}

function declares(node: Node, feature: string): boolean {
  const declared = (node.status as { declaredFeatures?: string[] } | undefined)?.declaredFeatures ?? [];
  return declared.includes(feature);
}

function kubeletAddress(node: Node): { host: string; port: number } {
  const addresses = node.status?.addresses ?? [];
  const host = ['InternalIP', 'ExternalIP', 'Hostname'].flatMap((t) => addresses.filter((a) => a.type === t))[0]
    ?.address;
  if (!host) throw badRequest(`no preferred addresses found; known addresses: ${JSON.stringify(addresses)}`);
  return { host, port: node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 10250 };
}

const HOP_BY_HOP = new Set(['connection', 'host', 'authorization', 'keep-alive', 'te', 'trailer', 'transfer-encoding']);

function forwarded(request: IncomingMessage, host: string, keep: readonly string[] = []): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { host };
  for (const [name, value] of Object.entries(request.headers))
    if (!name.startsWith(':') && (!HOP_BY_HOP.has(name) || keep.includes(name))) headers[name] = value;
  return headers;
}

async function forward(options: { socket: TLSSocket; url: string; host: string; call: Call }): Promise<void> {
  const { socket, url, host, call } = options;
  const { request, response } = call;
  await new Promise<void>((resolve) => {
    const upstream = httpRequest({
      createConnection: () => socket,
      method: request.method ?? 'GET',
      path: url,
      headers: forwarded(request, host),
    });
    const end = () => {
      upstream.destroy();
      socket.destroy();
      resolve();
    };
    upstream.on('response', (answer) => {
      copyResponse(answer, response);
      answer.on('close', end);
    });
    upstream.on('error', () => {
      if (response.headersSent) response.destroy();
      else {
        response.writeHead(502, { 'content-type': 'text/plain' });
        response.end('error trying to reach service: EOF');
      }
      end();
    });
    response.on('close', end);
    request.pipe(upstream);
  });
}

function copyResponse(answer: IncomingMessage, response: ServerResponse): void {
  const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_BY_HOP.has(name)));
  response.writeHead(answer.statusCode ?? 502, headers);
  response.flushHeaders();
  answer.pipe(response);
  answer.on('aborted', () => response.destroy());
}

interface PassThrough {
  socket: TLSSocket;
  url: string;
  host: string;
  request: IncomingMessage;
  client: Duplex;
  head: Buffer;
}

/** Sends the request as it is and joins the two connections; what is spoken after the upgrade is not looked at. */
function passThrough({ socket, url, host, request, client, head }: PassThrough): void {
  const headers = forwarded(request, host, ['connection']);
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().map((single) => `${name}: ${String(single)}\r\n`),
  );
  socket.write(`${request.method} ${url} HTTP/1.1\r\n${lines.join('')}\r\n`);
  if (head.length > 0) socket.write(head);
  const close = () => {
    socket.destroy();
    client.destroy();
  };
  for (const stream of [socket, client]) stream.on('error', close);
  socket.on('end', () => client.end());
  client.on('end', () => socket.end());
  socket.on('close', () => client.end());
  client.on('close', () => socket.destroy());
  socket.pipe(client, { end: false });
  client.pipe(socket, { end: false });
}
