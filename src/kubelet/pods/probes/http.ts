import type { Verdict } from './check.ts';
import { type HttpGet, httpGet } from './http-get.ts';

/** One GET; 200 to 399 is well, with a warning where a redirect led away from the pod (upstream pkg/probe/http). */
export async function httpVerdict(options: {
  get: HttpGet;
  host: string;
  port: number;
  timeoutMs: number;
  signal: AbortSignal;
}): Promise<Verdict> {
  const answer = await httpGet({ ...options, purpose: 'probe' });
  if ('error' in answer)
    return answer.inBody
      ? { result: 'error', output: answer.error, state: 'failure' }
      : { result: 'failure', output: answer.error };
  const { status, body } = answer;
  if (status >= 200 && status < 300) return { result: 'success', output: '' };
  if (status >= 300 && status < 400)
    return { result: 'success', output: '', warning: `Probe terminated redirects, Response body: ${body}` };
  return { result: 'failure', output: `HTTP probe failed with statuscode: ${status}` };
}
