import { Agent, request } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { getCACertificates } from 'node:tls';
import { abortError } from '../core/index.ts';
import { JoinFailure } from './failure.ts';

/**
 * Whom a connection believes: only the CAs of `ca`, the stores of the operating system, or nobody (to fetch the CA
 * bundle that is verified afterwards; such a connection never carries credentials).
 */
export type Trust =
  | { readonly kind: 'pinned'; readonly ca: string }
  | { readonly kind: 'system' }
  | { readonly kind: 'none' };

export interface TransportOptions {
  /** `https://host:port`; the certificate must be valid for its host. */
  readonly baseUrl: string;
  readonly trust: Trust;
  readonly client?: { readonly cert: string; readonly key: string };
  readonly userAgent: string;
}

export interface Call {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export interface Transport {
  /** Rejects with Node's own errors (`ECONNREFUSED`, `CERT_HAS_EXPIRED`, …); redirects are not followed. */
  call(call: Call): Promise<Answer>;
  close(): void;
}

/** Whole request. The server's node password check (scrypt) alone takes a second on a small server. */
const TIMEOUT_MS = 15_000;
/** Of that, for name look-up, TCP and TLS. */
const CONNECT_MS = 6_000;
/** A CA bundle or configuration is some kilobytes. */
const MAX_BODY = 4 * 1024 * 1024;

/**
 * HTTPS to the supervisor over kept-alive connections, up to four at once. On node:https instead of undici: ws needs
 * that module anyway, and errors of the TLS layer arrive as they are, which is what tells a wrong clock from a wrong CA.
 */
export function createTransport(options: TransportOptions): Transport {
  const { baseUrl, trust, client, userAgent } = options;
  const base = new URL(baseUrl);
  const agent = new Agent({
    keepAlive: true,
    maxSockets: 4,
    ...(trust.kind === 'none' ? { rejectUnauthorized: false, ca: [] } : { ca: authorities(trust) }),
    // Go takes each certificate of the bundle as an anchor, also one that is not self-signed.
    allowPartialTrustChain: true,
    ...(client ? { cert: client.cert, key: client.key } : {}),
  });
  return {
    call: (call) =>
      new Promise((resolve, reject) => {
        if (call.signal?.aborted) return reject(abortError());
        const req = request(
          {
            host: base.hostname.replace(/^\[|\]$/g, ''),
            port: base.port || 443,
            path: call.path,
            method: call.method ?? 'GET',
            headers: {
              'user-agent': userAgent,
              ...call.headers,
              ...(call.body ? { 'content-length': call.body.length } : {}),
            },
            agent,
          },
          (response) => {
            const chunks: Buffer[] = [];
            let size = 0;
            response.on('data', (chunk: Buffer) => {
              size += chunk.length;
              if (size > MAX_BODY)
                req.destroy(
                  new JoinFailure({ step: 'server-error', message: `${call.path}: the answer is larger than 4 MiB` }),
                );
              else chunks.push(chunk);
            });
            response.on('error', fail);
            response.on('end', () => {
              settle();
              resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
            });
            response.on('aborted', () =>
              fail(Object.assign(new Error('the answer was cut off'), { code: 'ECONNRESET' })),
            );
          },
        );
        const settle = () => {
          clearTimeout(timer);
          call.signal?.removeEventListener('abort', onAbort);
        };
        const fail = (error: Error) => {
          settle();
          reject(call.signal?.aborted ? abortError() : error);
        };
        const onAbort = () => req.destroy(abortError());
        const connected = () => (req.socket as TLSSocket | null)?.getProtocol?.() != null;
        const tooLong = () =>
          req.destroy(
            connected()
              ? new JoinFailure({
                  step: 'not-ready',
                  message: `${call.path}: the server took the request but did not answer within ${TIMEOUT_MS / 1000} s`,
                  remedy: 'the server may be overloaded or still starting; look at its log (journalctl -u k3s)',
                })
              : Object.assign(new Error('connecting took too long'), { code: 'ETIMEDOUT' }),
          );
        let timer = setTimeout(() => {
          if (!connected()) return tooLong();
          timer = setTimeout(tooLong, TIMEOUT_MS - CONNECT_MS);
        }, CONNECT_MS);
        call.signal?.addEventListener('abort', onAbort, { once: true });
        req.on('error', fail);
        req.end(call.body);
      }),
    close: () => agent.destroy(),
  };
}

function authorities(trust: Trust): string | string[] {
  return trust.kind === 'pinned' ? trust.ca : getCACertificates('system');
}
