import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { abortError, hostPort } from '../../../core/index.ts';
import type { Verdict } from './check.ts';
import { connectText } from './tcp.ts';

export interface HttpGet {
  path?: string;
  scheme?: string;
  httpHeaders?: { name: string; value: string }[];
}

const MAX_REDIRECTS = 10;

/** One GET; 200 to 399 is well. Redirects to the same host are followed, others count as success (upstream probe/http). */
export async function httpVerdict(options: {
  get: HttpGet;
  host: string;
  port: number;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<Verdict> {
  const { get, host, port, timeoutMs, signal } = options;
  const scheme = (get.scheme ?? 'HTTP').toUpperCase() === 'HTTPS' ? 'https' : 'http';
  const path = get.path?.startsWith('/') ? get.path : `/${get.path ?? ''}`;
  let url = new URL(`${scheme}://${hostPort(host, port)}${path}`);
  const deadline = AbortSignal.timeout(timeoutMs);
  const shown = url.href;
  try {
    for (let i = 0; i <= MAX_REDIRECTS; i++) {
      const { status, location } = await once(url, get.httpHeaders ?? [], AbortSignal.any([deadline, signal]));
      const next = status >= 300 && status < 400 && location ? new URL(location, url) : undefined;
      if (next && next.hostname === url.hostname) {
        url = next;
        continue;
      }
      if (status >= 200 && status < 400) return { result: 'success', output: '' };
      return { result: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
    }
    return { result: 'failure', output: `Get "${shown}": stopped after ${MAX_REDIRECTS} redirects` };
  } catch (error) {
    if (signal.aborted) throw abortError();
    const why = deadline.aborted
      ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
      : `dial tcp ${hostPort(host, port)}: ${connectText(error)}`;
    return { result: 'failure', output: `Get "${shown}": ${why}` };
  }
}

function once(
  url: URL,
  extra: readonly { name: string; value: string }[],
  signal: AbortSignal,
): Promise<{ status: number; location: string | undefined }> {
  const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.36', accept: '*/*', connection: 'close' };
  for (const header of extra)
    if (typeof header?.name === 'string') headers[header.name.toLowerCase()] = `${header.value}`;
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage) => {
      resolve({ status: response.statusCode ?? 0, location: response.headers.location });
      // The status tells all; a large or endless body is not read.
      response.destroy();
    };
    // A pod's certificate is its own affair, as upstream has it: the probe asks whether it answers, not who it is.
    const request =
      url.protocol === 'https:'
        ? httpsRequest(url, { headers, signal, agent: false, rejectUnauthorized: false }, take)
        : httpRequest(url, { headers, signal, agent: false }, take);
    request.on('error', reject);
    request.end();
  });
}
