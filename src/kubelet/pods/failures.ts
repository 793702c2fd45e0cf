import { describeError, errorCode } from '../../core/index.ts';
import type { Retry } from './memory.ts';
import type { Step } from './plan-types.ts';

/** How long a failed step rests: first and longest pause, milliseconds. */
const PAUSES: Readonly<Record<Step['do'], readonly [number, number]>> = {
  // Upstream pkg/volume/util/…/exponentialbackoff.go: 500 ms to 2 min 2 s.
  prepareVolumes: [500, 122_000],
  pullImage: [5_000, 300_000],
  createSandbox: [500, 15_000],
  stopSandbox: [500, 15_000],
  removeSandbox: [1_000, 60_000],
  startContainer: [1_000, 12_000],
  killContainer: [500, 15_000],
  preStop: [500, 15_000],
  resize: [2_000, 60_000],
  removeContainer: [1_000, 60_000],
  tearDown: [500, 30_000],
  confirmGone: [300, 5_000],
};

/** Claims can't be watched by a node: one that is not bound yet is looked at this often (upstream: ten times a second). */
const CLAIM_PAUSE_MS = 5_000;

/** The pause after one more failure of a step; `until` asks for a certain time. */
export function nextRetry(step: Step, before: Retry | undefined, error: unknown, now: number, until?: number): Retry {
  const [first, longest] = PAUSES[step.do];
  const most = errorCode(error) === 'VOLUMES_PENDING' ? CLAIM_PAUSE_MS : longest;
  const failures = (before?.failures ?? 0) + 1;
  const at = until ?? now + Math.min(most, first * 2 ** Math.min(failures - 1, 20));
  return { at, failures, runtimeAway: isRuntimeAway(error) };
}

/** The runtime is not there at all: no fault of the pod, so neither status nor events tell of it. */
export function isRuntimeAway(error: unknown): boolean {
  return errorCode(error) === 'CRI_UNAVAILABLE';
}

/** A sandbox or container of that name is there already: made by an agent that was killed in the middle. */
export function isNameTaken(error: unknown): boolean {
  return errorCode(error) === 'CRI_ALREADY_EXISTS' || /is reserved for/.test(describeError(error));
}
