import { setTimeout as sleep } from 'node:timers/promises';
import { commandOf, memoryOf, type ProcessSample, sampleProcess } from './lib/process.ts';

/**
 * footprint.ts SECONDS PID…: what each process costs. One JSON line a process: {pid, command, rss, peak, pss, anonymous
 * (MiB, at the end), cpu (% of one core, its ended children included), written (kB a minute)}.
 */
const [seconds, ...pids] = process.argv.slice(2).map(Number);
if (!(Number(seconds) > 0) || pids.length === 0 || pids.some((pid) => !(pid > 0))) {
  console.error('usage: footprint.ts SECONDS PID…');
  process.exit(1);
}

const before = new Map(pids.map((pid) => [pid, sampleProcess(pid)]));
await sleep(Number(seconds) * 1000);
for (const pid of pids) {
  const [from, to, memory] = [before.get(pid) as ProcessSample, sampleProcess(pid), memoryOf(pid)];
  const passed = (to.at - from.at) / 1000;
  const line = {
    ...Object.fromEntries(Object.entries(memory).map(([name, mib]) => [name, round(mib, 1)])),
    cpu: round((100 * (to.cpuSeconds - from.cpuSeconds)) / passed, 3),
    written: round(((to.written - from.written) / 1000 / passed) * 60, 1),
  };
  console.log(JSON.stringify({ pid, command: commandOf(pid).slice(0, 60), ...line }));
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
