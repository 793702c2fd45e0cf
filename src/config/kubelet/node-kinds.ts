import { formatGoDuration, parseMilliCpu } from '../../core/index.ts';
import { parseTaint, type Taint } from '../node-values.ts';
import { goDurationMs } from './go-values.ts';
import { demand, type Kind, pairs, quantity, splitCsv, textMap, Wrong } from './kinds.ts';

/* Types of values that only the kubelet has; those that all programs have are in kinds.ts. */

/** A quantity, or a share (0 to 1, a 32-bit float as in the original) of the whole. */
export type Threshold = { readonly quantity: number } | { readonly share: number };

const EVICTION_SIGNALS = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'containerfs.available',
  'containerfs.inodesFree',
  'pid.available',
  'allocatableMemory.available',
] as const;
export type EvictionSignal = (typeof EVICTION_SIGNALS)[number];
export type Thresholds = Readonly<Partial<Record<EvictionSignal, Threshold>>>;

/** What is kept back from pods: millicores, bytes, bytes, processes. */
export interface Reservation {
  readonly cpu: number;
  readonly memory: number;
  readonly ephemeralStorage: number;
  readonly pid: number;
}

/** How long pods of a priority, and above up to the next entry, may take to end. */
export interface PriorityGrace {
  readonly priority: number;
  readonly seconds: number;
}

export const taints: Kind<readonly Taint[]> = {
  name: 'a list of name=value:Effect',
  flag: (all) =>
    all.flatMap((one) => splitCsv(one)).map((one) => demand(parseTaint(one), 'a list of name=value:Effect')),
  json: (value) => {
    if (!Array.isArray(value)) throw new Wrong('must be a list of taints');
    return value.map((item: { key?: unknown; value?: unknown; effect?: unknown } | null) =>
      demand(parseTaint(`${item?.key}=${item?.value ?? ''}:${item?.effect}`), 'a list of key, value and effect'),
    );
  },
  show: (value) => value.map((t) => `${t.key}=${t.value}:${t.effect}`).join(', ') || 'none',
};

/** Eviction thresholds; signals of 0% and 100% are off and left out, as in the original (eviction/helpers.go). */
export const thresholds: Kind<Thresholds> = {
  name: 'a list such as memory.available<100Mi,nodefs.available<10%',
  flag: (all) => thresholdMap(Object.fromEntries(pairs(all, '<'))),
  json: (value) => thresholdMap(textMap.json(value)),
  show: (value) =>
    Object.entries(value)
      .map(([signal, t]) => `${signal}<${'share' in t ? `${Number((t.share * 100).toFixed(4))}%` : t.quantity}`)
      .join(', ') || 'none',
};

/** `signal=amount`: how much more to free than the threshold asks for. */
export const reclaims: Kind<Thresholds> = {
  ...thresholds,
  name: 'a list such as nodefs.available=10%',
  flag: (all) => thresholdMap(Object.fromEntries(pairs(all, '=')), true),
  json: (value) => thresholdMap(textMap.json(value), true),
};

/** Milliseconds by signal. */
export const graces: Kind<Readonly<Partial<Record<EvictionSignal, number>>>> = {
  name: 'a list such as memory.available=1m30s',
  flag: (all) => graceMap(Object.fromEntries(pairs(all, '='))),
  json: (value) => graceMap(textMap.json(value)),
  show: (value) =>
    Object.entries(value)
      .map(([k, v]) => `${k}=${formatGoDuration(v)}`)
      .join(', ') || 'none',
};

export const reservation: Kind<Reservation> = {
  name: 'a list such as cpu=100m,memory=256Mi,ephemeral-storage=1Gi,pid=100',
  flag: (all) => reserve(Object.fromEntries(pairs(all, '='))),
  json: (value) => reserve(textMap.json(value)),
  show: () => 'none',
};

/** shutdownGracePeriodByPodPriority. */
export const priorityGraces: Kind<readonly PriorityGrace[]> = {
  name: 'a list of priority and shutdownGracePeriodSeconds',
  flag: () => {
    throw new Wrong('can only be given in a file');
  },
  json: (value) => {
    if (!Array.isArray(value)) throw new Wrong('must be a list of priority and shutdownGracePeriodSeconds');
    return value.map((item: { priority?: unknown; shutdownGracePeriodSeconds?: unknown } | null) => {
      const { priority = 0, shutdownGracePeriodSeconds: seconds = 0 } = item ?? {};
      if (!isInt(priority) || !isInt(seconds) || seconds < 0)
        throw new Wrong('must have whole numbers for priority and shutdownGracePeriodSeconds');
      return { priority, seconds };
    });
  },
  show: (value) => value.map((one) => `${one.priority}: ${one.seconds}s`).join(', ') || 'none',
};

function signal(name: string): EvictionSignal {
  const found = EVICTION_SIGNALS.find((one) => one === name);
  if (found === undefined)
    throw new Wrong(`names "${name.slice(0, 40)}", which is none of ${EVICTION_SIGNALS.join(', ')}`);
  return found;
}

function thresholdMap(map: Readonly<Record<string, string>>, isReclaim = false): Thresholds {
  const out: Partial<Record<EvictionSignal, Threshold>> = {};
  for (const [name, value] of Object.entries(map)) {
    const key = signal(name);
    if (/%$/.test(value)) {
      const percent = /^[+-]?[\d.]+(e[+-]?\d+)?%$/i.test(value) ? Number(value.slice(0, -1)) : Number.NaN;
      if (!(percent >= 0 && percent <= 100))
        throw new Wrong(`has "${value.slice(0, 20)}" for ${key}, which is no percentage`);
      if (isReclaim || (percent > 0 && percent < 100)) out[key] = { share: Math.fround(percent / 100) };
      continue;
    }
    const amount = quantity(
      value,
      `has "${value.slice(0, 20)}" for ${key}, which is neither a quantity nor a percentage`,
    );
    if (amount < 0 || (amount === 0 && !isReclaim))
      throw new Wrong(`has "${value}" for ${key}: it must be more than 0`);
    out[key] = { quantity: amount };
  }
  return out;
}

function graceMap(map: Readonly<Record<string, string>>): Partial<Record<EvictionSignal, number>> {
  const out: Partial<Record<EvictionSignal, number>> = {};
  for (const [name, value] of Object.entries(map)) {
    const ms = goDurationMs(value);
    if (ms === undefined || ms < 0) throw new Wrong(`has "${value.slice(0, 20)}" for ${name}, which is no duration`);
    out[signal(name)] = ms;
  }
  return out;
}

function reserve(map: Readonly<Record<string, string>>): Reservation {
  const out = { cpu: 0, memory: 0, ephemeralStorage: 0, pid: 0 };
  for (const [name, value] of Object.entries(map)) {
    const amount = quantity(value, `has "${value.slice(0, 20)}" for ${name}, which is no quantity`);
    if (amount < 0) throw new Wrong(`has "${value}" for ${name}: it must not be negative`);
    if (name === 'cpu') out.cpu = parseMilliCpu(value);
    else if (name === 'memory') out.memory = amount;
    else if (name === 'ephemeral-storage') out.ephemeralStorage = amount;
    else if (name === 'pid') out.pid = amount;
    else
      throw new Wrong(
        `names "${name.slice(0, 40)}", which can't be reserved (cpu, memory, ephemeral-storage, pid can)`,
      );
  }
  return out;
}

function isInt(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value);
}
