import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../../src/core/index.ts';
import { createDocuments } from '../../../../src/kubelet/server/index.ts';
import { createRates } from '../../../../src/kubelet/server/numbers/rates.ts';
import { resourceText } from '../../../../src/kubelet/server/numbers/resource-text.ts';
import { type NodeNumbers, nodeNumbers, podNumbers } from '../../../../src/kubelet/server/numbers/usage.ts';

const NS = 1e6;
const labels = (container: string) => ({
  'io.kubernetes.pod.uid': 'u1',
  'io.kubernetes.pod.name': 'p"1',
  'io.kubernetes.pod.namespace': 'ns',
  'io.kubernetes.container.name': container,
});

/** A runtime with two running containers of one pod and a dead one; CPU counters grow with `ms`. */
function runtime(ms: () => number) {
  const container = (id: string, state: string) => ({
    id,
    state,
    createdAt: 1_000 * NS,
    labels: labels(id),
    metadata: { name: id, attempt: 0 },
  });
  return {
    listContainers: async () =>
      [
        container('a', 'CONTAINER_RUNNING'),
        container('b', 'CONTAINER_RUNNING'),
        container('dead', 'CONTAINER_EXITED'),
      ] as never,
    listContainerStats: async () =>
      ['a', 'b', 'dead', 'unknown'].map((id) => ({
        id,
        labels: {},
        metadata: { name: id, attempt: 0 },
        cpu: { timestamp: ms() * NS, usageCoreNanoSeconds: ms() * NS * (id === 'a' ? 0.5 : 0.25) },
        memory: { timestamp: ms() * NS, workingSetBytes: 1000, usageBytes: 1500, rssBytes: 500 },
      })) as never,
  };
}

const node: NodeNumbers = {
  usage: { cpuTime: 5000, cpuNanoseconds: 1.5e9, memoryTime: 5000, workingSet: 7000 },
  memoryAvailable: 1,
  swapUsed: 0,
  bootedAt: 0,
};

test('the resource page has the node, the running containers and their pods', async () => {
  const text = resourceText(node, await podNumbers(runtime(() => 4000)));
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.deepEqual(lines, [
    'container_cpu_usage_seconds_total{container="a",namespace="ns",pod="p\\"1"} 2 4000',
    'container_cpu_usage_seconds_total{container="b",namespace="ns",pod="p\\"1"} 1 4000',
    'container_memory_working_set_bytes{container="a",namespace="ns",pod="p\\"1"} 1000 4000',
    'container_memory_working_set_bytes{container="b",namespace="ns",pod="p\\"1"} 1000 4000',
    'container_start_time_seconds{container="a",namespace="ns",pod="p\\"1"} 1',
    'container_start_time_seconds{container="b",namespace="ns",pod="p\\"1"} 1',
    'node_cpu_usage_seconds_total 1.5 5000',
    'node_memory_working_set_bytes 7000 5000',
    'pod_cpu_usage_seconds_total{namespace="ns",pod="p\\"1"} 3 4000',
    'pod_memory_working_set_bytes{namespace="ns",pod="p\\"1"} 2000 4000',
    'resource_scrape_error 0',
  ]);
  assert.match(text, /# TYPE node_cpu_usage_seconds_total counter\n/);
});

test('without the runtime the node is still there, and the error is said', () => {
  assert.match(resourceText(node, undefined), /^node_cpu_usage_seconds_total 1.5 5000$/m);
  assert.match(resourceText(node, undefined), /^resource_scrape_error 1$/m);
});

test('the summary has a CPU rate from the first request on', async () => {
  let ms = 10_000;
  const clock = {
    ...systemClock,
    now: () => ms,
    sleep: async (pause: number) => {
      ms += pause;
    },
  };
  const documents = createDocuments({ nodeName: 'n1', runtime: runtime(() => ms), rootDir: '/', clock });
  const ask = async () => JSON.parse(String((await documents.summary?.(new URLSearchParams()))?.body));
  const first = await ask();
  assert.equal(first.node.nodeName, 'n1');
  assert.equal(first.pods[0].podRef.uid, 'u1');
  assert.equal(first.pods[0].containers[0].cpu.usageNanoCores, 500_000_000);
  assert.equal(first.pods[0].cpu.usageNanoCores, 750_000_000);
  assert.equal(first.pods[0].memory.workingSetBytes, 2000);
  assert.ok(first.node.memory.workingSetBytes > 0 && first.node.fs.capacityBytes > 0);
  ms += 15_000;
  assert.equal((await ask()).pods[0].containers[1].cpu.usageNanoCores, 250_000_000);
});

test('a counter that went back, or an old reading, gives no rate; forgotten containers hold no memory', () => {
  const rates = createRates();
  const at = (cpuTime: number, cpuNanoseconds: number) => ({ cpuTime, cpuNanoseconds, memoryTime: 0, workingSet: 0 });
  assert.equal(rates.of('a', at(0, 0)), undefined);
  assert.equal(rates.of('a', at(2_000, 1e9)), 5e8);
  assert.equal(rates.of('a', at(2_100, 9e9)), 5e8, 'too soon to tell anew');
  assert.equal(rates.of('a', at(4_000, 5e8)), undefined);
  assert.equal(rates.of('a', at(10_000_000, 6e8)), undefined);
  rates.sweep();
  rates.sweep();
  assert.equal(rates.of('a', at(10_002_000, 9e8)), undefined);
});

test('this host has numbers', async () => {
  const { usage, memoryAvailable, bootedAt } = await nodeNumbers(systemClock);
  assert.ok(usage.cpuNanoseconds > 0 && usage.workingSet > 0 && memoryAvailable > 0);
  assert.ok(bootedAt > 0 && bootedAt < Date.now());
});

test('only what has a configuration shows one', async () => {
  const documents = createDocuments({
    nodeName: 'n1',
    runtime: runtime(() => 0),
    rootDir: '/',
    configuration: () => ({ kind: 'KubeletConfiguration' }),
  });
  assert.equal(
    (await documents.configz?.(new URLSearchParams()))?.body,
    '{"kubeletconfig":{"kind":"KubeletConfiguration"}}',
  );
  assert.equal(createDocuments({ nodeName: 'n1', runtime: runtime(() => 0), rootDir: '/' }).configz, undefined);
});
