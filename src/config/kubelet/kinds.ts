import { AgentError, parseMilliCpu, parseQuantity } from '../../core/index.ts';
import { parseTaint, type Taint } from '../node-values.ts';
import { formatGoDuration, goBool, goDurationMs, goInt } from './go-values.ts';

/**
 * A type of value: how the kubelet's command line writes it, and how a KubeletConfiguration does. Both parsers throw
 * {@link Wrong} with what would be right. `flag` gets every occurrence of the flag.
 */
export interface Kind<T> {
  readonly name: string;
  flag(texts: readonly string[]): T;
  json(value: unknown): T;
  /** As the document shows it. */
  show(value: T): string;
}

/** What is wrong with a value, as the end of a sentence: `must be …`. */
export class Wrong extends Error {}

/** A quantity, or a share (0 to 1, a 32-bit float as in the original) of the whole. */
export type Threshold = { readonly quantity: number } | { readonly share: number };

export const EVICTION_SIGNALS = [
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

interface Range {
  min?: number;
  max?: number;
  /** Allowed beside the range, such as 0 for "off". */
  or?: number;
}

export const bool: Kind<boolean> = {
  name: 'true or false',
  flag: (texts) => demand(goBool(last(texts)), 'true or false'),
  json: (value) => demand(typeof value === 'boolean' ? value : undefined, 'true or false'),
  show: String,
};

export function int(range: Range = {}): Kind<number> {
  const { min = -(2 ** 31), max = 2 ** 31 - 1, or } = range;
  const wanted = rangeText(range);
  const check = (value: number | undefined): number => {
    if (value === undefined || !((value >= min && value <= max) || value === or)) throw new Wrong(`must be ${wanted}`);
    return value;
  };
  return {
    name: wanted,
    flag: (texts) => check(goInt(last(texts))),
    json: (value) => check(typeof value === 'number' && Number.isInteger(value) ? value : undefined),
    show: String,
  };
}

export const int64 = (range: Range = {}): Kind<number> => int({ min: -(2 ** 53), max: 2 ** 53, ...range });

function rangeText({ min, max, or }: Range): string {
  const or0 = or === undefined ? '' : ` or ${or}`;
  if (min !== undefined && max !== undefined && max < 2 ** 31) return `a whole number from ${min} to ${max}${or0}`;
  return min === undefined ? 'a whole number' : `a whole number, at least ${min}${or0}`;
}

export const float: Kind<number> = {
  name: 'a number',
  flag: (texts) => demand(/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(last(texts)) ? Number(last(texts)) : undefined, 'a number'),
  json: (value) => demand(typeof value === 'number' ? value : undefined, 'a number'),
  show: String,
};

/** Milliseconds. */
export function duration(range: { minMs?: number; maxMs?: number } = {}): Kind<number> {
  const { minMs = Number.NEGATIVE_INFINITY, maxMs = Number.POSITIVE_INFINITY } = range;
  const parse = (text: unknown): number => {
    const ms = typeof text === 'string' ? goDurationMs(text) : undefined;
    if (ms === undefined) throw new Wrong('must be a duration such as 10s, 2m or 1h30m');
    if (ms < minMs) throw new Wrong(`must be at least ${formatGoDuration(minMs)}`);
    if (ms > maxMs) throw new Wrong(`must be at most ${formatGoDuration(maxMs)}`);
    return ms;
  };
  return {
    name: 'a duration',
    flag: (texts) => parse(last(texts)),
    json: (value) => parse(typeof value === 'number' ? `${value}ns` : value),
    show: formatGoDuration,
  };
}

export const text: Kind<string> = {
  name: 'a text',
  flag: last,
  json: (value) => demand(typeof value === 'string' ? value : undefined, 'a text'),
  show: (value) => (value === '' ? '""' : value),
};

export function oneOf<T extends string>(...choices: readonly T[]): Kind<T> {
  const parse = (value: unknown): T =>
    demand(
      choices.find((choice) => choice === value),
      choices.map((c) => c || '""').join(', '),
      'one of ',
    );
  return {
    name: `one of ${choices.map((c) => c || '""').join(', ')}`,
    flag: (texts) => parse(last(texts)),
    json: parse,
    show: (value) => value || '""',
  };
}

/** Bytes, written as a quantity. */
export const bytes: Kind<number> = {
  name: 'a size such as 10Mi',
  flag: (texts) => size(last(texts)),
  json: size,
  show: (value) => (value % 2 ** 20 === 0 ? `${value / 2 ** 20}Mi` : String(value)),
};

export const list: Kind<readonly string[]> = {
  name: 'a comma-separated list',
  flag: (texts) => texts.flatMap((one) => splitCsv(one)),
  json: texts,
  show: (value) => (value.length === 0 ? 'none' : value.join(', ')),
};

export const textMap: Kind<Readonly<Record<string, string>>> = {
  name: 'a list of name=value',
  flag: (all) => Object.fromEntries(pairs(all, '=')),
  json: (value) => mapOf(value, (item) => demand(typeof item === 'string' ? item : undefined, 'a map of texts')),
  show: showMap,
};

export const boolMap: Kind<Readonly<Record<string, boolean>>> = {
  name: 'a list of name=true|false',
  flag: (all) =>
    Object.fromEntries(pairs(all, '=').map(([k, v]) => [k, demand(goBool(v), 'a list such as Name=true,Other=false')])),
  json: (value) =>
    mapOf(value, (item) => demand(typeof item === 'boolean' ? item : undefined, 'a map of true or false')),
  show: showMap,
};

/** Node labels: a name without `=` has an empty value. */
export const labels: Kind<readonly string[]> = { ...list, name: 'a list of name=value' };

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

/** Anything, as it stands: for what is refused whatever it says. */
export const anything: Kind<unknown> = {
  name: 'anything',
  flag: last,
  json: (value) => value,
  show: () => '',
};

function last(texts: readonly string[]): string {
  return texts.at(-1) ?? '';
}

function demand<T>(value: T | undefined, wanted: string, before = ''): T {
  if (value === undefined) throw new Wrong(`must be ${before}${wanted}`);
  return value;
}

function texts(value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw new Wrong('must be a list of texts');
  return value;
}

function size(value: unknown): number {
  return quantity(String(value), 'must be a size such as 10Mi or 1G');
}

function quantity(value: string, wanted: string): number {
  try {
    return parseQuantity(value);
  } catch (error) {
    if (error instanceof AgentError) throw new Wrong(wanted);
    throw error;
  }
}

/** pflag reads comma lists as CSV: a quoted item may hold commas. */
function splitCsv(value: string): string[] {
  const items = value.includes('"')
    ? [...value.matchAll(/"((?:[^"]|"")*)"|([^,]+)/g)].map((m) => m[1]?.replaceAll('""', '"') ?? m[2] ?? '')
    : value.split(',');
  return items.filter((item) => item !== '');
}

function pairs(all: readonly string[], sign: '=' | '<'): [string, string][] {
  return all
    .flatMap((one) => one.split(','))
    .filter((item) => item !== '')
    .map((item) => {
      const at = item.indexOf(sign);
      if (at < 1) throw new Wrong(`must be a list of name${sign}value, and "${item.slice(0, 40)}" is not`);
      return [item.slice(0, at).trim(), item.slice(at + 1).trim()];
    });
}

function mapOf<T>(value: unknown, item: (value: unknown) => T): Readonly<Record<string, T>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Wrong('must be a map');
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, item(one)]));
}

function showMap(value: Readonly<Record<string, unknown>>): string {
  return (
    Object.entries(value)
      .map(([k, v]) => `${k}=${v}`)
      .join(', ') || 'none'
  );
}

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
