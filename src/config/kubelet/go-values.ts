/** Values as Go's standard library reads them. Each parser returns undefined for a text that Go refuses. */

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** `1h2m3.5s` (time.ParseDuration) in milliseconds. Go's range, 292 years, holds here too. */
export function goDurationMs(text: string): number | undefined {
  const m = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)$/.exec(text);
  if (!m) return undefined;
  let total = 0;
  for (const [, amount, unit] of (m[2] as string).matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g))
    total += Number(amount) * (UNITS[unit as string] as number);
  if (total > 9_223_372_036_854) return undefined;
  return m[1] === '-' ? -total : total;
}

/** strconv.ParseInt with base 0: decimal, 0x, 0o, 0b, a leading 0 for octal, and `_` between digits. */
export function goInt(text: string): number | undefined {
  const m = /^([+-]?)(0x[\da-f_]+|0o?[0-7_]+|0b[01_]+|\d[\d_]*)$/i.exec(text);
  if (!m || /__|_$/.test(text)) return undefined;
  const digits = (m[2] as string).replaceAll('_', '').toLowerCase();
  if (digits.length > 66) return undefined;
  const octal = /^0o?[0-7]+$/.test(digits) && digits !== '0';
  const value = octal ? Number.parseInt(digits.replace(/^0o?/, ''), 8) : Number(digits);
  if (!Number.isSafeInteger(value)) return undefined;
  return m[1] === '-' && value !== 0 ? -value : value;
}

/** strconv.ParseBool. */
export function goBool(text: string): boolean | undefined {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text)) return false;
  return undefined;
}
