import { AgentError, formatGoDuration, parseQuantity } from '../../core/index.ts';
import { goBool, goDurationMs, goInt } from './go-values.ts';

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

interface Range {
  min?: number;
  max?: number;
}

export const bool: Kind<boolean> = {
  name: 'true or false',
  flag: (texts) => demand(goBool(last(texts)), 'true or false'),
  json: (value) => demand(typeof value === 'boolean' ? value : undefined, 'true or false'),
  show: String,
};

export function int(range: Range = {}): Kind<number> {
  const { min = -(2 ** 31), max = 2 ** 31 - 1 } = range;
  const wanted = rangeText(range);
  const check = (value: number | undefined): number => {
    if (value === undefined || value < min || value > max) throw new Wrong(`must be ${wanted}`);
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

function rangeText({ min, max }: Range): string {
  if (min !== undefined && max !== undefined && max < 2 ** 31) return `a whole number from ${min} to ${max}`;
  return min === undefined ? 'a whole number' : `a whole number, at least ${min}`;
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
  const name = `one of ${choices.map((c) => c || '""').join(', ')}`;
  const parse = (value: unknown): T =>
    demand(
      choices.find((choice) => choice === value),
      name,
    );
  return {
    name,
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

/** The same, or undefined while nobody says anything. */
export function optional<T>(kind: Kind<T>): Kind<T | undefined> {
  return { ...kind, show: (value) => (value === undefined ? '' : kind.show(value)) };
}

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

export function demand<T>(value: T | undefined, wanted: string): T {
  if (value === undefined) throw new Wrong(`must be ${wanted}`);
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

/** Throws {@link Wrong} with the text `wanted`. */
export function quantity(value: string, wanted: string): number {
  try {
    return parseQuantity(value);
  } catch (error) {
    if (error instanceof AgentError) throw new Wrong(wanted);
    throw error;
  }
}

/** pflag reads comma lists as CSV: a quoted item may hold commas. */
export function splitCsv(value: string): string[] {
  const items = value.includes('"')
    ? [...value.matchAll(/"((?:[^"]|"")*)"|([^,]+)/g)].map((m) => m[1]?.replaceAll('""', '"') ?? m[2] ?? '')
    : value.split(',');
  return items.filter((item) => item !== '');
}

export function pairs(all: readonly string[], sign: '=' | '<'): [string, string][] {
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
