import type { Pod } from '../../kube/index.ts';
import type { BackoffEntry } from './memory.ts';
import type { PodContainer, SpecContainer } from './model.ts';

/** CrashLoopBackOff's first and longest pause (kubelet pkg/kubelet/kubelet.go: 10 s, 5 min). */
export const CRASH_INITIAL_MS = 10_000;
export const CRASH_MAX_MS = 300_000;

/** Whether a container that ended with this code is to be started again. */
export function shouldRestart(pod: Pod, container: SpecContainer, exitCode: number): boolean {
  const policy = pod.spec.restartPolicy ?? 'Always';
  switch (container.kind) {
    case 'sidecar':
      return true;
    case 'ephemeral':
      return false;
    case 'init': {
      if (exitCode === 0) return false;
      if (matchesRule(container.spec, exitCode)) return true;
      return (container.spec.restartPolicy ?? policy) !== 'Never';
    }
    case 'app': {
      if (matchesRule(container.spec, exitCode)) return true;
      const own = container.spec.restartPolicy ?? policy;
      return own === 'Always' || (own === 'OnFailure' && exitCode !== 0);
    }
    default:
      return container.kind satisfies never;
  }
}

function matchesRule(container: PodContainer, exitCode: number): boolean {
  if (!Array.isArray(container.restartPolicyRules)) return false;
  return container.restartPolicyRules.some((rule) => {
    const { operator, values } = rule?.exitCodes ?? {};
    if (rule?.action !== 'Restart' || !Array.isArray(values)) return false;
    return operator === 'In' ? values.includes(exitCode) : operator === 'NotIn' && !values.includes(exitCode);
  });
}

/** Monotonic time before which the container that exited at `exitedAt` is not started again; 0 = now. */
export function restartAt(entry: BackoffEntry | undefined, exitedAt: number): number {
  return entry === undefined ? 0 : exitedAt + entry.delayMs;
}

/** The entry after one more start: doubled, or begun anew when the last one was long ago. */
export function nextCrashDelay(entry: BackoffEntry | undefined, now: number, maxMs = CRASH_MAX_MS): BackoffEntry {
  if (entry === undefined || now - entry.updatedAt > 2 * maxMs)
    return { delayMs: Math.min(CRASH_INITIAL_MS, maxMs), updatedAt: now };
  return { delayMs: Math.min(entry.delayMs * 2, maxMs), updatedAt: now };
}

/** A duration as Go prints it: `10s`, `1m20s`, `5m0s`. */
export function goDuration(ms: number): string {
  const total = Math.round(ms / 1000);
  const h = Math.floor(total / 3600);
  const m = Math.floor((total % 3600) / 60);
  const s = total % 60;
  return `${h > 0 ? `${h}h` : ''}${h > 0 || m > 0 ? `${m}m` : ''}${s}s`;
}
