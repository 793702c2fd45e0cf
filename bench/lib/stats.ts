/** The value below which the share `p` (0 to 1) of the values lies: one of them, not an interpolation. */
export function quantile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

export interface Spread {
  p50: number;
  p99: number;
  max: number;
}

/** Milliseconds, rounded. */
export function spread(values: readonly number[]): Spread {
  return {
    p50: Math.round(quantile(values, 0.5)),
    p99: Math.round(quantile(values, 0.99)),
    max: Math.round(quantile(values, 1)),
  };
}
