import { type Socket, connect as tcpConnect } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { AgentError, abortError, familyOf, hostPort, registerSecret, splitHostPort } from '../core/index.ts';

/** Opens a TCP connection to `host:port`; rejects on refusal, silence or abort. */
export type Dial = (address: string, signal: AbortSignal) => Promise<Socket>;

/** k3s dials servers with these (pkg/agent/loadbalancer/httpproxy.go). */
const DIAL_MS = 10_000;
const KEEPALIVE_MS = 30_000;
/** Longest answer of a proxy that is read. */
const MAX_ANSWER = 16 * 1024;

/** Direct, or through a proxy: `http:` and `https:` by CONNECT, `socks5:` with or without user and password. */
export function createDial(proxy: URL | undefined): Dial {
  if (proxy === undefined) return (address, signal) => open(address, signal);
  registerSecret(decodeURIComponent(proxy.password));
  return async (address, signal) => {
    const via = hostPort(hostOf(proxy), Number(proxy.port) || defaultPort(proxy));
    const socket = await open(via, signal, proxy.protocol === 'https:' ? hostOf(proxy) : undefined);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(DIAL_MS)]);
    try {
      await (proxy.protocol === 'socks5:'
        ? socks5(socket, proxy, address, limit)
        : http(socket, proxy, address, limit));
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  };
}

function open(address: string, signal: AbortSignal, tlsName?: string): Promise<Socket> {
  const target = splitHostPort(address);
  if (target === undefined)
    return Promise.reject(new AgentError({ code: 'LB_ADDRESS', message: `"${address}" is not host:port` }));
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError());
    const tcp = tcpConnect({
      ...target,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
      allowHalfOpen: true,
    });
    const servername = tlsName !== undefined && familyOf(tlsName) === undefined ? { servername: tlsName } : {};
    const socket = tlsName === undefined ? tcp : tlsConnect({ socket: tcp, host: tlsName, ...servername });
    const fail = (error: Error) => {
      settle();
      tcp.destroy();
      socket.destroy();
      reject(error);
    };
    const onAbort = () => fail(abortError());
    const timer = setTimeout(
      () =>
        fail(new AgentError({ code: 'LB_TIMEOUT', message: `no answer from ${address} within ${DIAL_MS / 1000} s` })),
      DIAL_MS,
    );
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.off('error', fail);
      socket.on('error', () => {});
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (socket !== tcp) tcp.on('error', () => {});
    socket.on('error', fail);
    socket.once(socket === tcp ? 'connect' : 'secureConnect', () => {
      settle();
      resolve(socket);
    });
  });
}

async function http(socket: Socket, proxy: URL, address: string, signal: AbortSignal): Promise<void> {
  const user = credentials(proxy);
  const auth =
    user && `Proxy-Authorization: Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}\r\n`;
  socket.write(`CONNECT ${address} HTTP/1.1\r\nHost: ${address}\r\n${auth ?? ''}\r\n`);
  let head = '';
  while (!head.endsWith('\r\n\r\n')) {
    // Byte by byte, since what follows the empty line belongs to the server.
    head += (await take(socket, 1, signal)).toString('latin1');
    if (head.length > MAX_ANSWER) throw proxyError(proxy, 'its answer is too long');
  }
  const line = head.split('\r\n', 1)[0] as string;
  if (!/^HTTP\/1\.[01] 2\d\d/.test(line)) throw proxyError(proxy, `it answered "${line.slice(0, 100)}"`);
}

const SOCKS_ERRORS = [
  '',
  'general failure',
  'not allowed by its rules',
  'network unreachable',
  'host unreachable',
  'connection refused',
  'TTL expired',
  'command not supported',
  'address type not supported',
];

async function socks5(socket: Socket, proxy: URL, address: string, signal: AbortSignal): Promise<void> {
  const user = credentials(proxy);
  socket.write(Buffer.from(user ? [5, 2, 0, 2] : [5, 1, 0]));
  const method = (await take(socket, 2, signal))[1];
  if (method === 2 && user) {
    const name = Buffer.from(user.name);
    const password = Buffer.from(user.password);
    socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([password.length]), password]));
    if ((await take(socket, 2, signal))[1] !== 0) throw proxyError(proxy, 'it refused the user or password');
  } else if (method !== 0) throw proxyError(proxy, 'it wants an authentication that is not supported');
  const { host, port } = splitHostPort(address) as { host: string; port: number };
  // The proxy resolves names; an IP address as text would do too, but not every proxy takes it.
  const name = Buffer.from(host);
  const v4 = familyOf(host) === 4 ? Buffer.from([1, ...host.split('.').map(Number)]) : undefined;
  const target = v4 ?? Buffer.concat([Buffer.from([3, name.length]), name]);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0]), target, Buffer.from([port >> 8, port & 0xff])]));
  const [, reply = 1, , type] = await take(socket, 4, signal);
  if (reply !== 0) throw proxyError(proxy, SOCKS_ERRORS[reply] ?? `error ${reply}`);
  const length = type === 1 ? 4 : type === 4 ? 16 : ((await take(socket, 1, signal))[0] as number);
  await take(socket, length + 2, signal);
}

/** Exactly `n` bytes from a stream that nobody else reads yet. */
async function take(socket: Duplex, n: number, signal: AbortSignal): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(n) as Buffer | null;
    if (bytes !== null && bytes.length === n) return bytes;
    if (bytes !== null || socket.readableEnded || socket.destroyed)
      throw new AgentError({ code: 'LB_PROXY', message: 'the proxy closed the connection' });
    if (signal.aborted) throw new AgentError({ code: 'LB_PROXY', message: 'the proxy did not answer in time' });
    await new Promise<void>((resolve) => {
      const done = () => {
        for (const event of ['readable', 'end', 'close', 'error']) socket.off(event, done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      for (const event of ['readable', 'end', 'close', 'error']) socket.on(event, done);
      signal.addEventListener('abort', done);
    });
  }
}

function credentials(proxy: URL): { name: string; password: string } | undefined {
  if (proxy.username === '') return undefined;
  return { name: decodeURIComponent(proxy.username), password: decodeURIComponent(proxy.password) };
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function defaultPort(url: URL): number {
  return url.protocol === 'socks5:' ? 1080 : url.protocol === 'https:' ? 443 : 80;
}

function proxyError(proxy: URL, what: string): AgentError {
  return new AgentError({
    code: 'LB_PROXY',
    message: `the proxy ${proxy.host}: ${what}`,
    remedy: 'check HTTPS_PROXY and NO_PROXY, or unset K3S_AGENT_HTTP_PROXY_ALLOWED',
  });
}
