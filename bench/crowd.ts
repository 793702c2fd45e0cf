import { setTimeout as sleep } from 'node:timers/promises';
import { burst } from './lib/burst.ts';
import { memoryOf, type ProcessSample, sampleProcess } from './lib/process.ts';

/**
 * crowd.ts KUBECONFIG NODE COUNT PROBES SECONDS PID…: creates COUNT pods on NODE at once, PROBES of them with a readiness
 * probe that starts a process every 10 s; once all are Ready and have rested for 40 s, looks for SECONDS at what the
 * processes cost together; deletes the pods. One JSON line: {readyMs: {p50, p99, max}, goneMs: {…}, rss, pss (MiB), cpu (%
 * of one core, ended children included), written (kB a minute)}.
 */
const [kubeconfig, node, ...numbers] = process.argv.slice(2);
const [count = 0, probes = 0, seconds = 0, ...pids] = numbers.map(Number);
if (!kubeconfig || !node || !(count > 0) || !(seconds > 0) || pids.length === 0) {
  console.error('usage: crowd.ts KUBECONFIG NODE COUNT PROBES SECONDS PID…');
  process.exit(1);
}
const SETTLE_MS = 40_000;

const { readyMs, end } = await burst({ kubeconfig, node, count, probes });
await sleep(SETTLE_MS);
const before = pids.map(sampleProcess);
await sleep(seconds * 1000);
const after = pids.map(sampleProcess);
const memory = pids.map(memoryOf);
const grown = (of: (sample: ProcessSample) => number) =>
  after.reduce((sum, sample, i) => sum + of(sample) - of(before[i] as ProcessSample), 0);
const passed = ((after[0] as ProcessSample).at - (before[0] as ProcessSample).at) / 1000;
console.log(
  JSON.stringify({
    readyMs,
    goneMs: await end(),
    rss: memory.reduce((sum, { rss }) => sum + rss, 0),
    pss: memory.reduce((sum, { pss }) => sum + pss, 0),
    cpu: (100 * grown(({ cpuSeconds }) => cpuSeconds)) / passed,
    written: (grown(({ written }) => written) / 1000 / passed) * 60,
  }),
);
process.exit();
