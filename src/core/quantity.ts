import { AgentError } from './errors.ts';

const SUFFIX: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * A Kubernetes quantity (`100m`, `1.5Gi`, `2e3`) as a number in the unit's base: cores, bytes, pieces. Values over
 * 2^53 lose their last digits, which no board notices. Throws `QUANTITY_INVALID` naming the text.
 */
export function parseQuantity(text: string | number): number {
  const s = String(text).trim();
  const m = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$/.exec(s);
  if (!m) throw new AgentError({ code: 'QUANTITY_INVALID', message: `"${s.slice(0, 64)}" is not a quantity` });
  const value = Number(m[1]) * (m[2] ? Number(`1${m[2]}`) : (SUFFIX[m[3] ?? ''] as number));
  if (!Number.isFinite(value))
    throw new AgentError({ code: 'QUANTITY_INVALID', message: `"${s.slice(0, 64)}" is out of range` });
  return value;
}

/** A CPU quantity in whole millicores, rounded up as the kubelet does. */
export function parseMilliCpu(text: string | number): number {
  return Math.ceil(parseQuantity(text) * 1000 - 1e-9);
}

/** Cores as the API writes them: `2` or `1500m`. */
export function formatCpu(milli: number): string {
  return milli % 1000 === 0 ? String(milli / 1000) : `${milli}m`;
}

/** Bytes as `Ki` when they divide, else plain. */
export function formatKi(bytes: number): string {
  return bytes % 1024 === 0 ? `${bytes / 1024}Ki` : String(bytes);
}

const UNITS = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/**
 * A whole amount as the API writes it: with the largest unit that leaves a whole number, of 1024 (`64Mi`) or, for
 * `decimal`, of 1000 (`128M`).
 */
export function formatAmount(amount: number, base: 'binary' | 'decimal' = 'binary'): string {
  const step = base === 'binary' ? 1024 : 1000;
  let value = Math.ceil(amount);
  let unit = 0;
  while (value !== 0 && value % step === 0 && unit < UNITS.length - 1) {
    value /= step;
    unit++;
  }
  const suffix = UNITS[unit] as string;
  return `${value}${base === 'decimal' || unit === 0 ? suffix : `${suffix.toUpperCase()}i`}`;
}
