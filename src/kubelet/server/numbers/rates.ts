import type { Usage } from './usage.ts';

/** A rate over less time than this is mostly noise. */
const SHORTEST_MS = 1_000;
/** Older readings say nothing about now. */
const LONGEST_MS = 300_000;

export interface Rates {
  /**
   * Nanocores since a reading from 1 s to 5 min ago; undefined without such a reading. Each call is a reading for later
   * ones.
   */
  of(key: string, usage: Usage): number | undefined;
  /** Forgets what was not asked about since the last sweep. */
  sweep(): void;
}

/** CPU use now, from the counters of the last request: nothing is measured between requests. */
export function createRates(): Rates {
  const readings = new Map<string, { time: number; cpu: number; rate: number | undefined; seen: boolean }>();
  return {
    of(key, { cpuTime, cpuNanoseconds }) {
      const last = readings.get(key);
      if (last !== undefined && cpuTime - last.time < SHORTEST_MS && cpuNanoseconds >= last.cpu) {
        last.seen = true;
        if (last.rate !== undefined || cpuTime <= last.time) return last.rate;
      }
      const elapsed = last === undefined ? 0 : cpuTime - last.time;
      const used = last === undefined ? -1 : cpuNanoseconds - last.cpu;
      const rate = elapsed > 0 && elapsed <= LONGEST_MS && used >= 0 ? Math.round((used / elapsed) * 1000) : undefined;
      readings.set(key, { time: cpuTime, cpu: cpuNanoseconds, rate, seen: true });
      return rate;
    },
    sweep() {
      for (const [key, reading] of readings) {
        if (!reading.seen) readings.delete(key);
        reading.seen = false;
      }
    },
  };
}
