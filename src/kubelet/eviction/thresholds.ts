import { type Observation, type Observations, type Pressure, pressureOf, type Signal } from './signals.ts';

/** An amount, or a share (0 to 1) of the whole. */
export type ThresholdValue = { readonly quantity: number } | { readonly share: number };

export type SignalMap<T> = Readonly<Partial<Record<Signal, T>>>;

/** The kubelet's settings of the same names. Times in milliseconds. */
export interface EvictionSettings {
  evictionHard: SignalMap<ThresholdValue>;
  evictionSoft: SignalMap<ThresholdValue>;
  evictionSoftGracePeriod: SignalMap<number>;
  evictionMinimumReclaim: SignalMap<ThresholdValue>;
  mergeDefaultEvictionSettings: boolean;
  enforceNodeAllocatable: readonly string[];
}

export interface Threshold {
  signal: Signal;
  value: ThresholdValue;
  /** It must be crossed for that long; 0 = a hard threshold. */
  graceMs: number;
  /** Once crossed it stays so until that much more than `value` is available. */
  minReclaim?: ThresholdValue;
}

/** Upstream's own defaults, which k3s replaces by two of its own (pkg/kubelet/eviction/defaults_linux.go). */
const UPSTREAM_HARD: SignalMap<ThresholdValue> = {
  'memory.available': { quantity: 100 * 2 ** 20 },
  'nodefs.available': { share: Math.fround(0.1) },
  'nodefs.inodesFree': { share: Math.fround(0.05) },
  'imagefs.available': { share: Math.fround(0.15) },
  'imagefs.inodesFree': { share: Math.fround(0.05) },
};

/**
 * All thresholds to watch. Where pods are held to the allocatable, the hard one of memory also counts for what they have
 * together. `containerfs` is always one of the other two file systems here, and its thresholds are theirs.
 */
export function thresholdsOf(settings: EvictionSettings): Threshold[] {
  const hard = hardThresholds(settings);
  const reclaim = (signal: Signal) => {
    const minReclaim = settings.evictionMinimumReclaim[signal];
    return minReclaim === undefined ? {} : { minReclaim };
  };
  const out: Threshold[] = [];
  for (const [signal, value] of entries(hard)) out.push({ signal, value, graceMs: 0, ...reclaim(signal) });
  for (const [signal, value] of entries(settings.evictionSoft))
    out.push({ signal, value, graceMs: settings.evictionSoftGracePeriod[signal] ?? 0, ...reclaim(signal) });
  const memory = hard['memory.available'];
  if (memory !== undefined && settings.enforceNodeAllocatable.includes('pods'))
    out.push({
      signal: 'allocatableMemory.available',
      value: memory,
      graceMs: 0,
      ...reclaim('memory.available'),
    });
  return out.filter(({ signal }) => !signal.startsWith('containerfs.'));
}

function hardThresholds(settings: EvictionSettings): SignalMap<ThresholdValue> {
  return settings.mergeDefaultEvictionSettings ? { ...UPSTREAM_HARD, ...settings.evictionHard } : settings.evictionHard;
}

/** What the hard thresholds keep back from pods of a node of that size (pkg/kubelet/cm/helpers.go), in bytes. */
export function hardReservation(
  settings: EvictionSettings,
  capacity: { memory: number; ephemeralStorage: number },
): { memory: number; ephemeralStorage: number } {
  const hard = hardThresholds(settings);
  const of = (signal: Signal, whole: number) => {
    const value = hard[signal];
    return value === undefined ? 0 : amountOf(value, whole);
  };
  return {
    memory: Math.floor(of('memory.available', capacity.memory)),
    ephemeralStorage: Math.floor(of('nodefs.available', capacity.ephemeralStorage)),
  };
}

export function amountOf(value: ThresholdValue, capacity: number): number {
  return 'quantity' in value ? value.quantity : value.share * capacity;
}

/** Below this the threshold counts as crossed; `reclaimed`: above that it counts as left behind. */
export function limitOf(threshold: Threshold, { capacity }: Observation, reclaimed = false): number {
  const { value, minReclaim } = threshold;
  return (
    Math.floor(amountOf(value, capacity)) +
    (reclaimed && minReclaim !== undefined ? Math.floor(amountOf(minReclaim, capacity)) : 0)
  );
}

/** The thresholds that are crossed now, whatever their grace. */
export function crossed(thresholds: readonly Threshold[], seen: Observations, reclaimed = false): Threshold[] {
  return thresholds.filter((threshold) => {
    const observation = seen.get(threshold.signal);
    return observation !== undefined && observation.available < limitOf(threshold, observation, reclaimed);
  });
}

/** What is remembered from one look to the next. Times are monotonic milliseconds. */
export interface Assessment {
  /** Since when each threshold is crossed. */
  since: ReadonlyMap<Threshold, number>;
  /** When each condition was last seen. */
  lastSeen: ReadonlyMap<Pressure, number>;
  /** The node's conditions: seen now or within the transition period. */
  pressures: readonly Pressure[];
  /** Crossed for longer than their grace: something has to go. */
  acting: readonly Threshold[];
}

export const CALM: Assessment = { since: new Map(), lastSeen: new Map(), pressures: [], acting: [] };

/** One look at the node (pkg/kubelet/eviction/eviction_manager.go, synchronize). Pure. */
export function assess(
  before: Assessment,
  input: { thresholds: readonly Threshold[]; seen: Observations; now: number; transitionMs: number },
): Assessment {
  const { thresholds, seen, now, transitionMs } = input;
  const notYetResolved = crossed(before.acting, seen, true);
  const met = new Set([...crossed(thresholds, seen), ...notYetResolved]);
  const since = new Map([...met].map((threshold) => [threshold, before.since.get(threshold) ?? now]));
  const lastSeen = new Map(before.lastSeen);
  for (const { signal } of met) lastSeen.set(pressureOf(signal), now);
  for (const [pressure, at] of lastSeen) if (now - at >= transitionMs && at !== now) lastSeen.delete(pressure);
  return {
    since,
    lastSeen,
    pressures: [...lastSeen.keys()],
    acting: [...met].filter((threshold) => now - (since.get(threshold) as number) >= threshold.graceMs),
  };
}

function entries<T>(map: SignalMap<T>): [Signal, T][] {
  return Object.entries(map) as [Signal, T][];
}
