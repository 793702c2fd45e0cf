import { AgentError, type Clock, describeError, isAbort } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import { podLongName } from '../../containers/spec.ts';
import { rpcText } from '../rpc-text.ts';
import type { HttpGet } from './http-get.ts';
import { resolvePort } from './spec.ts';
import type { ProbeTarget } from './types.ts';

export interface HookOptions {
  runtime: RuntimeService;
  clock: Clock;
  signal: AbortSignal;
  /** An event about the pod. */
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
}

type Get = HttpGet & { host?: string; port?: unknown };

/**
 * Runs a container's postStart or preStop hook; throws `HOOK_FAILED` with upstream's text (pkg/kubelet/lifecycle
 * handlers.go), which may hold what the hook printed. No time limit of its own but the signal.
 */
export async function runHook(
  target: ProbeTarget,
  which: 'postStart' | 'preStop',
  options: HookOptions,
): Promise<void> {
  const handler = target.container.spec.lifecycle?.[which];
  if (!handler) return;
  const sleep = (handler as { sleep?: { seconds?: number } }).sleep;
  if (handler.exec) return execHook(target, handler.exec.command ?? [], options);
  if (handler.httpGet) return httpHook(target, handler.httpGet, options);
  if (sleep) return options.clock.sleep(Math.max(0, Number(sleep.seconds) || 0) * 1000, options.signal);
  // tcpSocket is accepted by the API and has never been run.
  throw failed('Cannot run handler: invalid handler');
}

async function execHook(target: ProbeTarget, command: readonly string[], options: HookOptions): Promise<void> {
  const { runtime, signal } = options;
  const fail = (why: string, output: string): AgentError =>
    failed(
      `Exec lifecycle hook ([${command.join(' ')}]) for ${subject(target)} failed - error: ${why}, message: ${JSON.stringify(output)}`,
    );
  const run = runtime.execSync(target.observed.id, command, 0, { signal, timeoutMs: 2 ** 31 - 1 });
  const { exitCode, stdout, stderr } = await run.catch((error: unknown) => {
    throw isAbort(error) ? error : fail(rpcText(error), '');
  });
  if (exitCode !== 0)
    throw fail(
      `command '${command.join(' ')}' exited with ${exitCode}: ${stderr}`,
      Buffer.concat([stdout, stderr]).toString('utf8'),
    );
}

/** Any answer is well: the hook asks that the request arrives, not what comes of it. */
async function httpHook(target: ProbeTarget, get: Get, { signal, event }: HookOptions): Promise<void> {
  const { httpGet } = await import('./http-get.ts');
  try {
    const host = get.host || target.podIp;
    if (!host) throw new Error('failed to find networking container: the pod has no address');
    const request = { get, host, port: resolvePort(get.port, target.container), purpose: 'lifecycle', signal } as const;
    const answer = await httpGet(request);
    if (!('error' in answer)) return;
    if (!answer.plain) throw new Error(answer.error);
    // Hooks that were written for the time when https was not looked at (upstream isHTTPResponseError).
    const headers = (get.httpHeaders ?? []).filter(({ name }) => `${name}`.toLowerCase() !== 'authorization');
    const second = await httpGet({ ...request, get: { ...get, scheme: 'HTTP', httpHeaders: headers } });
    if ('error' in second) throw new Error(answer.error);
    const where = `${host}:${request.port}`;
    event(
      'Warning',
      'LifecycleHTTPFallback',
      `request to HTTPS lifecycle hook ${where} got HTTP response, retry with HTTP succeeded`,
    );
  } catch (error) {
    if (isAbort(error)) throw error;
    throw failed(
      `HTTP lifecycle hook (${get.path ?? ''}) for ${subject(target)} failed - error: ${describeError(error)}`,
    );
  }
}

function subject({ pod, container }: ProbeTarget): string {
  return `Container "${container.spec.name}" in Pod "${podLongName(pod)}"`;
}

function failed(message: string): AgentError {
  return new AgentError({ code: 'HOOK_FAILED', message });
}
