import { readFileSync } from 'node:fs';

/** /proc counts processor time in these, on every architecture Node runs on. */
const TICKS_PER_SECOND = 100;
const MIB = 1024 * 1024;

export interface ProcessSample {
  at: number;
  /** Seconds of processor time, that of ended children included: a short-lived helper costs as well. */
  cpuSeconds: number;
  /** Bytes it caused to be written to storage. */
  written: number;
}

/** Memory in MiB. */
export interface ProcessMemory {
  rss: number;
  peak: number;
  /** Shared pages divided by those who share them. */
  pss: number;
  /** Its own, not backed by a file: what a board without swap can't take back. */
  anonymous: number;
}

export function sampleProcess(pid: number): ProcessSample {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in parentheses may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    at: performance.now(),
    cpuSeconds: ticks / TICKS_PER_SECOND,
    written: field(readFileSync(`/proc/${pid}/io`, 'utf8'), 'write_bytes'),
  };
}

export function memoryOf(pid: number): ProcessMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const mib = (text: string, name: string) => (field(text, name) * 1024) / MIB;
  return {
    rss: mib(status, 'VmRSS'),
    peak: mib(status, 'VmHWM'),
    pss: mib(rollup, 'Pss'),
    anonymous: mib(rollup, 'Anonymous'),
  };
}

/** argv, as one text. */
export function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
}

/** `Name:   123 kB` or `name: 123`. */
function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
}
