import type { Observations } from './signals.ts';
import { type Assessment, limitOf, type Threshold } from './thresholds.ts';

/** The kubelet looks every ten seconds, whatever the node is like. */
const CLOSE_MS = 10_000;
const FAR_MS = 30_000;
/** Of what a threshold keeps free, so many times as much still counts as near. */
const NEAR = 2;

/**
 * When to look at the node again: as often as the kubelet while something is short, nearly so, or falls so fast that it
 * would be short at the next look; else at a third of that.
 */
export function nextLookMs(
  state: Assessment,
  thresholds: readonly Threshold[],
  now: { seen: Observations; before: Observations; elapsedMs: number },
): number {
  if (state.since.size > 0 || state.pressures.length > 0) return CLOSE_MS;
  for (const threshold of thresholds) {
    const observation = now.seen.get(threshold.signal);
    if (observation === undefined) continue;
    const limit = limitOf(threshold, observation);
    const last = now.before.get(threshold.signal)?.available ?? observation.available;
    const fall = Math.max(0, last - observation.available) * (FAR_MS / Math.max(1_000, now.elapsedMs));
    if (observation.available < NEAR * limit || observation.available - fall < limit) return CLOSE_MS;
  }
  return FAR_MS;
}

/** Walking through what pods wrote takes time: it may take a five-hundredth of it, at least once a minute. */
export function nextStorageLookMs(tookMs: number): number {
  return Math.min(60_000, Math.max(CLOSE_MS, 500 * tookMs));
}
