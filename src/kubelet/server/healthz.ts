import { describeError, type Logger } from '../../core/index.ts';
import type { Body } from './reply.ts';

/** A named check; it throws when something is wrong. */
export interface HealthCheck {
  name: string;
  check(): void | Promise<void>;
}

/** They say that this process answers at all. */
export const BASIC_CHECKS: readonly HealthCheck[] = ['ping', 'log'].map((name) => ({ name, check: () => {} }));

/**
 * /healthz, /healthz?verbose, ?exclude=NAME, and /healthz/NAME (upstream: apiserver/pkg/server/healthz). The reason of a
 * failure goes to the log and to the page of that one check.
 */
export async function healthz(init: {
  checks: readonly HealthCheck[];
  check: string | undefined;
  query: URLSearchParams;
  log: Logger;
}): Promise<Body> {
  const { checks, query, log } = init;
  if (init.check !== undefined) {
    const found = checks.find((c) => c.name === init.check);
    if (found === undefined) return { status: 404, body: '404: Page Not Found' };
    const failure = await run(found);
    return failure === undefined
      ? { status: 200, body: 'ok' }
      : { status: 500, body: `internal server error: ${failure}\n` };
  }
  const excluded = new Set(query.getAll('exclude'));
  let text = '';
  let failed = false;
  for (const check of checks) {
    if (excluded.delete(check.name)) {
      text += `[+]${check.name} excluded: ok\n`;
      continue;
    }
    const failure = await run(check);
    if (failure !== undefined) log.warn('a health check failed', { check: check.name, error: failure });
    failed ||= failure !== undefined;
    text += failure === undefined ? `[+]${check.name} ok\n` : `[-]${check.name} failed: reason withheld\n`;
  }
  if (excluded.size > 0) {
    const names = [...excluded].map((name) => JSON.stringify(name)).join(',');
    text += `warn: some health checks cannot be excluded: no matches for ${names}\n`;
  }
  if (failed) return { status: 500, body: `${text}healthz check failed\n` };
  return { status: 200, body: query.has('verbose') ? `${text}healthz check passed\n` : 'ok' };
}

async function run({ check }: HealthCheck): Promise<string | undefined> {
  try {
    await check();
    return undefined;
  } catch (error) {
    return describeError(error);
  }
}
