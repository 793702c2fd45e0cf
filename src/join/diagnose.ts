import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { abortError, type Clock, hostPort } from '../core/index.ts';
import { connectionFailure, JoinFailure } from './failure.ts';
import type { Trust } from './transport.ts';

export interface DiagnoseOptions {
  /** The server that the user named, not the local load balancer in front of it. */
  readonly server: string;
  /** Whom its certificate must satisfy, once that is known. */
  readonly trust?: Trust;
  /** True if requests go to that name, so that the certificate must be for it. */
  readonly checkName: boolean;
  /** `http://host:port` that connections to the server go through. */
  readonly proxy?: string;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

const STEP_TIMEOUT_MS = 5_000;

/**
 * Walks the way to the server step by step (name, TCP, TLS, certificate) to tell where it ends: behind a load balancer
 * every fault looks like a cut connection. Undefined if the way is open.
 */
export async function diagnose(options: DiagnoseOptions): Promise<JoinFailure | undefined> {
  const { server, proxy, signal } = options;
  const url = new URL(server);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port || 443);
  let socket: Socket | undefined;
  try {
    if (proxy) socket = await throughProxy(proxy, hostPort(host, port), signal);
    else {
      const addresses = isIP(host)
        ? [host]
        : (await within(lookup(host, { all: true }), 'EAI_AGAIN')).map((a) => a.address);
      socket = await firstOpen(addresses, port, signal);
    }
    const secure = await handshake(socket, host, options);
    socket = secure;
    return await certificateFailure(secure, host, options);
  } catch (error) {
    if (signal?.aborted) throw abortError();
    const failure = connectionFailure(error, server);
    // A peer that hangs up on a TLS hello, or answers it with plain text, is no k3s server.
    return failure;
  } finally {
    socket?.destroy();
  }
}

async function firstOpen(addresses: readonly string[], port: number, signal: AbortSignal | undefined): Promise<Socket> {
  const errors: unknown[] = [];
  for (const address of addresses.slice(0, 4)) {
    try {
      return await open(address, port, signal);
    } catch (error) {
      errors.push(error);
    }
  }
  throw errors.length === 1 ? errors[0] : new AggregateError(errors);
}

function open(host: string, port: number, signal: AbortSignal | undefined): Promise<Socket> {
  const socket = connectTcp({ host, port, ...(signal ? { signal } : {}) });
  return settled(socket, 'connect', `connecting to ${hostPort(host, port)}`);
}

async function throughProxy(proxy: string, target: string, signal: AbortSignal | undefined): Promise<Socket> {
  const url = new URL(proxy);
  const shown = `${url.protocol}//${url.host}`;
  try {
    const socket = await open(url.hostname.replace(/^\[|\]$/g, ''), Number(url.port || 80), signal);
    const login = url.username
      ? `Proxy-Authorization: Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString('base64')}\r\n`
      : '';
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${login}\r\n`);
    const head = await firstBytes(socket);
    if (/^HTTP\/1\.[01] 200/.test(head)) return socket;
    socket.destroy();
    throw new JoinFailure({
      step: 'proxy',
      message: `the proxy ${shown} does not connect to ${target} (${head.split('\r\n')[0]?.slice(0, 60) || 'no answer'})`,
      remedy: 'let the proxy allow CONNECT to the server, or name the server in NO_PROXY',
    });
  } catch (cause) {
    if (cause instanceof JoinFailure || signal?.aborted) throw cause;
    throw new JoinFailure({
      step: 'proxy',
      message: `the proxy ${shown} can't be reached`,
      remedy: 'check HTTPS_PROXY, or name the server in NO_PROXY',
      cause,
    });
  }
}

async function handshake(socket: Socket, host: string, options: DiagnoseOptions): Promise<TLSSocket> {
  const { trust } = options;
  const secure = connectTls({
    socket,
    rejectUnauthorized: false,
    ca: trust?.kind === 'pinned' ? trust.ca : [],
    allowPartialTrustChain: true,
    checkServerIdentity: () => undefined,
    ...(isIP(host) ? {} : { servername: host }),
  });
  try {
    return await settled(secure, 'secureConnect', `the TLS handshake with ${options.server}`);
  } catch (cause) {
    throw new JoinFailure({
      step: 'proxy',
      message: `${options.server} takes connections but does not speak TLS as a k3s server does`,
      remedy: 'check the port in --server, and whether a proxy or firewall stands between',
      cause,
    });
  }
}

async function certificateFailure(
  secure: TLSSocket,
  host: string,
  options: DiagnoseOptions,
): Promise<JoinFailure | undefined> {
  const { server, trust, clock } = options;
  const certificate = secure.getPeerX509Certificate();
  if (certificate === undefined) return new JoinFailure({ step: 'tls-ca', message: `${server} shows no certificate` });
  const now = clock.now();
  const from = certificate.validFromDate.getTime();
  const to = certificate.validToDate.getTime();
  if (now < from || now > to) {
    const server_ = await serverTime(secure, host);
    const isServers = server_ !== undefined && Math.abs(server_ - now) < 300_000;
    return new JoinFailure({
      step: 'tls-clock',
      message:
        `the clock of this board says ${iso(now)}, but the certificate of ${server} is valid from ${iso(from)} to ${iso(to)}` +
        (server_ === undefined || isServers ? '' : `; the server says it is ${iso(server_)}`),
      remedy:
        isServers && now > to
          ? "the server's certificate has expired: restart k3s on the server, which renews it"
          : 'set the clock of this board (timedatectl set-ntp true; a board without a battery clock needs an NTP server it can reach); the agent goes on as soon as it is right',
    });
  }
  // Declared as Error, but it is the bare OpenSSL code.
  const wrong = secure.authorizationError as unknown as string | Error | null;
  const code = wrong instanceof Error ? ((wrong as NodeJS.ErrnoException).code ?? wrong.message) : wrong;
  if (trust?.kind === 'pinned' && !secure.authorized && code)
    return connectionFailure(Object.assign(new Error(String(code)), { code: String(code) }), server);
  if (options.checkName && trust?.kind === 'pinned') {
    const matches = isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host);
    if (matches === undefined)
      return connectionFailure(
        Object.assign(new Error(`it is for ${names(secure.getPeerCertificate())}`), {
          code: 'ERR_TLS_CERT_ALTNAME_INVALID',
        }),
        server,
      );
  }
  return undefined;
}

function names(peer: PeerCertificate): string {
  return (peer.subjectaltname ?? '').slice(0, 200);
}

/** What the server thinks the time is, from the Date header of its smallest route. */
async function serverTime(secure: TLSSocket, host: string): Promise<number | undefined> {
  try {
    secure.write(`GET /ping HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const date = /^date: (.*)\r$/im.exec(await firstBytes(secure))?.[1];
    const time = date === undefined ? Number.NaN : Date.parse(date);
    return Number.isNaN(time) ? undefined : time;
  } catch {
    return undefined;
  }
}

function firstBytes(socket: Socket): Promise<string> {
  return within(
    new Promise<string>((resolve, reject) => {
      socket.once('data', (chunk: Buffer) => resolve(chunk.subarray(0, 4096).toString('latin1')));
      socket.once('error', reject);
      socket.once('close', () => reject(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })));
    }),
    'ETIMEDOUT',
  );
}

/** Waits for the event that says a socket is usable; closes it otherwise. */
function settled<S extends Socket>(socket: S, event: string, what: string): Promise<S> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(Object.assign(new Error(`${what} took over ${STEP_TIMEOUT_MS / 1000} s`), { code: 'ETIMEDOUT' })),
      STEP_TIMEOUT_MS,
    );
    socket.on('error', fail);
    socket.once('close', () => fail(Object.assign(new Error(`${what}: the peer hung up`), { code: 'ECONNRESET' })));
    socket.once(event, () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}

async function within<T>(work: Promise<T>, code: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('no answer in time'), { code })), STEP_TIMEOUT_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function iso(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
