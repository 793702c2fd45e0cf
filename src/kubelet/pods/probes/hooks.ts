import { AgentError, type Clock } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import { check } from './check.ts';
import type { ProbeTarget } from './types.ts';

/** The longest a http hook may take; exec hooks end with the container's grace. */
const HTTP_TIMEOUT_MS = 30_000;

/** Runs a container's postStart or preStop hook; throws `HOOK_FAILED` with upstream's text. */
export async function runHook(
  target: ProbeTarget,
  which: 'postStart' | 'preStop',
  options: { runtime: RuntimeService; clock: Clock; signal: AbortSignal },
): Promise<void> {
  const { runtime, clock, signal } = options;
  const handler = target.container.spec.lifecycle?.[which];
  if (!handler) return;
  const sleep = (handler as { sleep?: { seconds?: number } }).sleep;
  if (sleep) return clock.sleep(Math.max(0, Number(sleep.seconds) || 0) * 1000, signal);
  if (handler.exec) {
    const { exitCode } = await runtime.execSync(target.observed.id, handler.exec.command ?? [], 0, {
      signal,
      timeoutMs: 2 ** 31 - 1,
    });
    if (exitCode !== 0) throw failed(which);
    return;
  }
  if (handler.httpGet) {
    const { result } = await check({ httpGet: handler.httpGet }, target, {
      runtime,
      timeoutMs: HTTP_TIMEOUT_MS,
      signal,
    });
    if (result !== 'success') throw failed(which);
  }
  // tcpSocket is accepted by the API and does nothing, here as upstream.
}

function failed(which: 'postStart' | 'preStop'): AgentError {
  return new AgentError({
    code: 'HOOK_FAILED',
    message: which === 'postStart' ? 'PostStartHook failed' : 'PreStopHook failed',
  });
}
