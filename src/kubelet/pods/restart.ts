import { formatGoDuration } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { BackoffEntry, PodMemory } from './memory.ts';
import type { PodContainer, RestartRule, SpecContainer } from './model.ts';

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
  const action = matchingRule(container, exitCode)?.action;
  return action === 'Restart' || action === 'RestartAllContainers';
}

/** The first rule that speaks of this exit code (pkg/api/v1/pod/util.go, FindMatchingContainerRestartRule). */
export function matchingRule(container: PodContainer, exitCode: number): RestartRule | undefined {
  if (!Array.isArray(container.restartPolicyRules)) return undefined;
  return container.restartPolicyRules.find((rule) => {
    const { operator, values } = rule?.exitCodes ?? {};
    if (!Array.isArray(values)) return false;
    return operator === 'In' ? values.includes(exitCode) : operator === 'NotIn' && !values.includes(exitCode);
  });
}

/** The pause of a container as it is now: another image or other resources begin anew (kuberuntime helpers.go, GetBackoffKey). */
export function crashEntry(memory: Pick<PodMemory, 'crash'>, container: PodContainer): BackoffEntry | undefined {
  const entry = memory.crash.get(container.name);
  return entry?.of === backoffKey(container) ? entry : undefined;
}

function backoffKey({ image = '', resources }: PodContainer): string {
  return `${image} ${JSON.stringify(resources ?? {})}`;
}

/** Monotonic time before which the container that exited at `exitedAt` is not started again; 0 = now. */
export function restartAt(entry: BackoffEntry | undefined, exitedAt: number): number {
  return entry === undefined || hasSettled(entry, exitedAt) ? 0 : exitedAt + entry.delayMs;
}

/** The entry after one more start: doubled, or begun anew if the container ran for long before it ended. */
export function nextCrashDelay(
  container: PodContainer,
  entry: BackoffEntry | undefined,
  { exitedAt, now, maxMs = CRASH_MAX_MS }: { exitedAt: number; now: number; maxMs?: number },
): BackoffEntry {
  const delayMs = entry === undefined || hasSettled(entry, exitedAt) ? CRASH_INITIAL_MS : entry.delayMs * 2;
  return { of: backoffKey(container), delayMs: Math.min(delayMs, maxMs), updatedAt: now, settledMs: 2 * maxMs };
}

function hasSettled(entry: BackoffEntry, exitedAt: number): boolean {
  return exitedAt - entry.updatedAt > entry.settledMs;
}

/** Whole seconds as Go prints them: `10s`, `1m20s`, `5m0s`. */
export function goDuration(ms: number): string {
  return formatGoDuration(Math.round(ms / 1000) * 1000);
}
