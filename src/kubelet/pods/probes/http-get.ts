import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { abortError, errorCode, hostPort } from '../../../core/index.ts';
import { connectText } from './tcp.ts';

export interface HttpGet {
  path?: string;
  scheme?: string;
  httpHeaders?: { name: string; value: string }[];
}

export interface HttpGetOptions {
  get: HttpGet;
  host: string;
  port: number;
  /** Left out: only the signal ends it. */
  timeoutMs?: number;
  /** Goes into the user agent. */
  purpose: 'probe' | 'lifecycle';
  signal: AbortSignal;
}

export type HttpAnswer =
  | { status: number; body: string }
  /** Go's text; `inBody`: the answer had begun; `plain`: plain HTTP came where TLS was asked for. */
  | { error: string; inBody?: boolean; plain?: boolean };

const MAX_REDIRECTS = 10;
/** More of a body is not read (upstream pkg/probe/http). */
const MAX_BODY = 10 * 1024;
const FOLLOWED = new Set([301, 302, 303, 307, 308]);

/** A GET as kubelets send it: redirects to the same host are followed, certificates not judged. Rejects only by the signal. */
export async function httpGet({ get, host, port, timeoutMs, purpose, signal }: HttpGetOptions): Promise<HttpAnswer> {
  const scheme = (get.scheme ?? 'HTTP').toUpperCase() === 'HTTPS' ? 'https' : 'http';
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  const headers = headersOf(get.httpHeaders ?? [], purpose);
  let url = new URL(`${scheme}://${hostPort(host, port)}${path}`);
  const first = url.hostname;
  for (let i = 0; ; i++) {
    const answer = await once(url, headers, { limit, signal });
    if ('error' in answer) return answer;
    const next = FOLLOWED.has(answer.status) ? leadsTo(answer.location, url) : undefined;
    if (next === undefined || next.hostname !== first) return answer;
    if (i + 1 >= MAX_REDIRECTS) return { error: `Get "${next.href}": stopped after ${MAX_REDIRECTS} redirects` };
    if (next.host !== url.host) delete headers.Host;
    url = next;
  }
}

function leadsTo(location: string | undefined, base: URL): URL | undefined {
  if (!location || !URL.canParse(location, base.href)) return undefined;
  const url = new URL(location, base);
  return /^https?:$/.test(url.protocol) ? url : undefined;
}

/** A header named twice is sent twice; an empty Accept asks for none to be sent. */
function headersOf(extra: NonNullable<HttpGet['httpHeaders']>, purpose: string): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = {};
  for (const { name, value } of extra.filter((header) => typeof header?.name === 'string')) {
    const key = name.toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    const before = headers[key];
    headers[key] = before === undefined || key === 'Host' ? `${value}` : [before, `${value}`].flat();
  }
  headers['User-Agent'] ??= `kube-${purpose}/1.36`;
  if (headers.Accept === '') delete headers.Accept;
  else headers.Accept ??= '*/*';
  headers.Connection = 'close';
  return headers;
}

type Once = { status: number; body: string; location: string | undefined } | Extract<HttpAnswer, { error: string }>;

function once(
  url: URL,
  headers: OutgoingHttpHeaders,
  { limit, signal }: { limit: AbortSignal | undefined; signal: AbortSignal },
): Promise<Once> {
  return new Promise((resolve, reject) => {
    let answered = false;
    const failed = (error: unknown) => {
      if (signal.aborted) reject(abortError());
      else if (!answered) resolve(failure(url, error, limit?.aborted === true, request.socket));
      else resolve({ error: bodyText(error, limit?.aborted === true), inBody: true });
    };
    const take = (response: IncomingMessage) => {
      answered = true;
      const chunks: Buffer[] = [];
      let size = 0;
      const finish = () => {
        const body = Buffer.concat(chunks).toString('utf8', 0, MAX_BODY);
        resolve({ status: response.statusCode ?? 0, body, location: response.headers.location });
        response.destroy();
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size >= MAX_BODY) finish();
      });
      response.on('end', finish);
      response.on('error', failed);
    };
    const options = { headers, signal: limit ? AbortSignal.any([limit, signal]) : signal, agent: false };
    // A pod's certificate is its own affair, as upstream has it: the probe asks whether it answers, not who it is.
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { ...options, rejectUnauthorized: false }, take)
        : httpRequest(url, options, take);
    request.on('error', failed);
    request.end();
  });
}

function failure(
  url: URL,
  error: unknown,
  late: boolean,
  socket: { localAddress?: string | undefined; localPort?: number | undefined } | null,
): Extract<HttpAnswer, { error: string }> {
  const shown = `Get "${url.href}"`;
  const address = hostPort(
    url.hostname.replace(/^\[|\]$/g, ''),
    Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
  );
  const code = errorCode(error) ?? '';
  if (late) return { error: `${shown}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)` };
  if (/^(ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|EPROTO)$/.test(code))
    return { error: `${shown}: http: server gave HTTP response to HTTPS client`, plain: true };
  if (code === 'ECONNRESET') {
    // Without a failed read(2) the server has just closed the connection.
    if ((error as { syscall?: string }).syscall !== 'read') return { error: `${shown}: EOF` };
    const from = hostPort(socket?.localAddress ?? '', socket?.localPort ?? 0);
    return { error: `${shown}: read tcp ${from}->${address}: read: connection reset by peer` };
  }
  if (code.startsWith('HPE_'))
    return { error: `${shown}: net/http: HTTP/1.x transport connection broken: malformed HTTP response` };
  return { error: `${shown}: dial tcp ${address}: ${connectText(error)}` };
}

function bodyText(error: unknown, late: boolean): string {
  if (late) return 'context deadline exceeded (Client.Timeout or context cancellation while reading body)';
  return errorCode(error) === 'ECONNRESET' ? 'unexpected EOF' : connectText(error);
}
