import { randomBytes } from 'node:crypto';
import type { ObjectMeta } from 'kubernetes-types/meta/v1.d.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** An API object as stored and sent. `metadata.name` is set on everything stored. */
export interface Obj {
  apiVersion: string;
  kind: string;
  metadata: Mutable<ObjectMeta>;
  [field: string]: unknown;
}

export type Dict = Record<string, unknown>;

export function isDict(value: unknown): value is Dict {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Views an object as one of the typed kinds; nothing is checked. */
export function as<T>(object: Obj): T {
  return object as unknown as T;
}

export function clone<T>(value: T): T {
  return structuredClone(value);
}

/** Deep equality of JSON values; the order of keys does not matter, undefined fields do not exist. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => sameJson(x, b[i]));
  if (!isDict(a) || !isDict(b)) return false;
  for (const key of Object.keys(a)) if (!sameJson(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (b[key] !== undefined && a[key] === undefined) return false;
  return true;
}

/** Seconds precision, as metav1.Time prints. */
export function timestamp(at: number = Date.now()): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`;
}

/** Microseconds precision, as metav1.MicroTime prints. */
export function microTimestamp(at: number = Date.now()): string {
  return `${new Date(at).toISOString().slice(0, 23)}000Z`;
}

/** `namespace/name`, or the name alone. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

const SUFFIX = 'bcdfghjklmnpqrstvwxz2456789';

/** The random ending of generated names: no vowels, so that no words come up. */
export function randomSuffix(length = 5): string {
  return Array.from(randomBytes(length), (byte) => SUFFIX[byte % SUFFIX.length]).join('');
}
