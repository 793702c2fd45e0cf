import { type Logger, redact, sayOnce } from '../core/index.ts';
import { connectionFailure, JoinFailure } from './failure.ts';
import { authorization, type Credentials } from './token.ts';
import { type Answer, type Call, createTransport, type Transport, type Trust } from './transport.ts';

export type CertName = 'serving-kubelet' | 'client-kubelet' | 'client-kube-proxy' | 'client-k3s-controller';
export const CERT_NAMES = [
  'client-kubelet',
  'serving-kubelet',
  'client-kube-proxy',
  'client-k3s-controller',
] as const satisfies readonly CertName[];

/** Who asks for the kubelet's certificates, proved by the node password. */
export interface NodeIdentity {
  readonly name: string;
  readonly password: string;
  /** Addresses that the serving certificate must cover. */
  readonly ips: readonly string[];
}

/** PEM. */
export interface ClientPair {
  readonly cert: string;
  readonly key: string;
}

export interface SupervisorOptions {
  /** Where to connect: the local load balancer, or the server itself. */
  readonly dialUrl: string;
  readonly trust: Trust;
  readonly credentials: Credentials;
  /** The kubelet's client certificate, if there is one already. */
  readonly client?: ClientPair;
  readonly userAgent: string;
  readonly log: Logger;
}

/** The supervisor's routes (k3s pkg/server/handlers/router.go). Everything throws {@link JoinFailure}. */
export interface Supervisor {
  /** `/v1-k3s/config`, parsed as JSON and not yet looked at. */
  config(signal?: AbortSignal): Promise<unknown>;
  clientCa(signal?: AbortSignal): Promise<string>;
  serverCa(signal?: AbortSignal): Promise<string>;
  /** The PEM answer to a certificate request: a chain, and from old servers a private key behind it. */
  certificate(name: CertName, request: Uint8Array, node: NodeIdentity, signal?: AbortSignal): Promise<string>;
  /** `host:port` of the API servers; undefined from a server too old to know. */
  apiServers(signal?: AbortSignal): Promise<string[] | undefined>;
  /** False while the server starts; true also from a server too old to say. */
  ready(signal?: AbortSignal): Promise<boolean>;
  /** From now on this certificate speaks for us where the server takes it. */
  useClient(client: ClientPair): void;
  close(): void;
}

/**
 * A client certificate goes before the token and alone: the server hashes a password with scrypt each time it sees one,
 * which takes it 90 ms on a PC and a second on a Pi, while a certificate costs it next to nothing. The token follows
 * where the certificate is refused: from servers up to 1.21 (403), and while the Node of a kubelet's certificate does
 * not exist, be it not yet or not any more (401).
 */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { dialUrl, trust, credentials, userAgent, log } = options;
  const warned = sayOnce();
  const auth = authorization(credentials);
  const open = (client?: ClientPair): Transport =>
    createTransport({ baseUrl: dialUrl, trust, userAgent, ...(client ? { client } : {}) });
  let byToken: Transport | undefined;
  let byCertificate = options.client && open(options.client);
  let isNew = false;
  const retired: Transport[] = [];

  async function call(request: Call, isKubelet = false): Promise<Answer> {
    // The kubelet's routes want the certificate's Node to exist, which it does not yet for a new certificate.
    const used = isKubelet && isNew && auth !== undefined ? undefined : byCertificate;
    if (used !== undefined) {
      const answer = await send(used, request);
      const refused = answer.status === 401 || (answer.status === 403 && !isPasswordRefusal(answer));
      if (!refused || auth === undefined) return answer;
      if (!isKubelet && byCertificate === used) {
        log.debug('the server does not take the client certificate; using the token', { status: answer.status });
        byCertificate = undefined;
        retired.push(used); // others still wait for answers on it
      }
    }
    byToken ??= open();
    return send(
      byToken,
      auth === undefined ? request : { ...request, headers: { ...request.headers, authorization: auth } },
    );
  }

  async function send(transport: Transport, request: Call): Promise<Answer> {
    try {
      const answer = await transport.call(request);
      warn(answer, request.path);
      return answer;
    } catch (error) {
      if (request.signal?.aborted) throw error;
      throw connectionFailure(error, dialUrl);
    }
  }

  function warn(answer: Answer, path: string): void {
    const raw = answer.headers.warning;
    for (const line of typeof raw === 'string' ? [raw] : (raw ?? [])) {
      const text = /^299 \S+ "((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replace(/\\(.)/g, '$1').slice(0, 500);
      if (text && warned.changed(text, text)) log.warn('the server warns', { path, warning: text });
    }
  }

  async function body(request: Call): Promise<string> {
    const answer = await call(request);
    if (answer.status !== 200) throw statusFailure(answer, request.path, dialUrl);
    return answer.body.toString('utf8');
  }

  async function bundle(path: string, signal: AbortSignal | undefined): Promise<string> {
    const text = await body({ path, ...(signal ? { signal } : {}) });
    if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
    throw new JoinFailure({ step: 'server-error', message: `${path}: the answer holds no certificate` });
  }

  return {
    async config(signal) {
      const text = await body({ path: '/v1-k3s/config', ...(signal ? { signal } : {}) });
      return parseJson(text, '/v1-k3s/config');
    },
    clientCa: (signal) => bundle('/v1-k3s/client-ca.crt', signal),
    serverCa: (signal) => bundle('/v1-k3s/server-ca.crt', signal),
    async certificate(name, request, node, signal) {
      const isKubelet = name === 'serving-kubelet' || name === 'client-kubelet';
      const path = `/v1-k3s/${name}.crt`;
      const answer = await call(
        {
          method: 'POST',
          path,
          body: request,
          headers: isKubelet
            ? { 'k3s-Node-Name': node.name, 'k3s-Node-Password': node.password, 'k3s-Node-IP': node.ips.join(',') }
            : {},
          ...(signal ? { signal } : {}),
        },
        isKubelet,
      );
      if (answer.status === 200) return answer.body.toString('utf8');
      if (isKubelet && isPasswordRefusal(answer)) throw passwordFailure(node.name, messageOf(answer));
      throw statusFailure(answer, path, dialUrl);
    },
    async apiServers(signal) {
      const path = '/v1-k3s/apiservers';
      const answer = await call({ path, ...(signal ? { signal } : {}) });
      // A server without this route hands it to its API server, which knows it neither.
      if ([401, 403, 404].includes(answer.status)) return undefined;
      if (answer.status !== 200) throw statusFailure(answer, path, dialUrl);
      const list = parseJson(answer.body.toString('utf8'), path);
      return Array.isArray(list) ? list.filter((a) => typeof a === 'string' && a.length < 300).slice(0, 100) : [];
    },
    async ready(signal) {
      const answer = await call({ path: '/v1-k3s/readyz', ...(signal ? { signal } : {}) });
      return answer.status !== 500 && answer.status !== 503;
    },
    useClient(client) {
      if (byCertificate) retired.push(byCertificate);
      byCertificate = open(client);
      isNew ||= options.client === undefined;
    },
    close() {
      byToken?.close();
      byCertificate?.close();
      for (const old of retired) old.close();
    },
  };
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new JoinFailure({
      step: text.trimStart().startsWith('<') ? 'proxy' : 'server-error',
      message: `${path}: the answer is not JSON`,
      remedy: 'check the address in --server: what answers there is no k3s server',
    });
  }
}

/** What the server says went wrong: a metav1.Status of new servers, plain text of old ones. */
function messageOf(answer: Answer): string {
  const text = answer.body.toString('utf8').slice(0, 4096);
  try {
    const status = JSON.parse(text) as { message?: unknown } | null;
    if (typeof status?.message === 'string') return redact(status.message.slice(0, 400));
  } catch {
    // Plain text.
  }
  return /^\s*</.test(text) ? '' : redact(text.trim().slice(0, 300));
}

/** New servers speak of the password, old ones of its hash; a missing group is just "forbidden". */
function isPasswordRefusal(answer: Answer): boolean {
  return answer.status === 403 && /password|hash/i.test(messageOf(answer));
}

function passwordFailure(node: string, said: string): JoinFailure {
  return new JoinFailure({
    step: 'node-password',
    refused: true,
    message: `the server knows a node named "${node}" with another password${said ? ` (${said})` : ''}`,
    remedy:
      `if this board was set up anew: kubectl delete node ${node} && kubectl -n kube-system delete secret ${node}.node-password.k3s --ignore-not-found; ` +
      `if another board has this name: give this one --node-name or --with-node-id. This board's password is in /etc/rancher/node/password`,
  });
}

/** The failure behind an HTTP status of the supervisor. */
export function statusFailure(answer: Answer, path: string, target: string): JoinFailure {
  const { status } = answer;
  const said = messageOf(answer);
  const quote = said ? `: ${said}` : '';
  const isHtml = /html/i.test(String(answer.headers['content-type'] ?? ''));
  if ((status >= 300 && status < 400) || status === 407 || status === 511 || (isHtml && status !== 503))
    return new JoinFailure({
      step: 'proxy',
      message: `${path}: something other than a k3s server answers at ${target} (HTTP ${status})`,
      remedy: 'check --server, and whether a proxy or the login page of a network stands between',
    });
  if (status === 401)
    return new JoinFailure({
      step: 'token',
      refused: true,
      message: `the server rejects the token (HTTP 401${quote})`,
      remedy:
        'compare it with /var/lib/rancher/k3s/server/node-token on the server; a bootstrap token may have expired (k3s token list)',
    });
  if (status === 403)
    return new JoinFailure({
      step: 'forbidden',
      refused: true,
      message: `${path}: the server knows the token but does not let it join nodes (HTTP 403${quote})`,
      remedy: 'use the token of /var/lib/rancher/k3s/server/node-token, or a bootstrap token made for agents',
    });
  const retryAfter = Number(answer.headers['retry-after']);
  const retry = Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {};
  if (status === 503 || status === 429 || status === 502 || status === 504)
    return new JoinFailure({
      step: 'not-ready',
      message: `the server is not ready yet (HTTP ${status}${quote})`,
      remedy: 'nothing to do if it was just started; else look at its log (journalctl -u k3s)',
      ...retry,
    });
  return new JoinFailure({
    step: 'server-error',
    message: `${path}: the server answers HTTP ${status}${quote}`,
    remedy: 'look at the log of the server (journalctl -u k3s)',
    ...retry,
  });
}
