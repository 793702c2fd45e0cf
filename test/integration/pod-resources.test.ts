import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { hostExec } from '../../src/host/index.ts';
import { createCgroupManager } from '../../src/kubelet/cgroups/index.ts';
import { diskUsage } from '../../src/kubelet/eviction/disk-usage.ts';
import { createMeasures, EvictionManager, nodePaths, observe } from '../../src/kubelet/eviction/index.ts';
import type { Threshold } from '../../src/kubelet/eviction/thresholds.ts';
import { BUSYBOX, until } from './cri-support.ts';
import { createPodLab, type PodLab, podLabMissing } from './pod-lab.ts';

const isV1 = await stat('/sys/fs/cgroup/memory/memory.limit_in_bytes').then(
  () => true,
  () => false,
);
const skip = (await podLabMissing({ network: false })) ?? (isV1 ? false : 'the host has no cgroup v1');
if (skip) console.log(`skipped: ${skip}`);

const MIB = 2 ** 20;
const ROOT = `/kat-resources-${process.pid}`;
const ALLOCATABLE = 256 * MIB;
const PIDS = 40;

/** Holds that many bytes of memory that nobody can take away; a last command would take the place of the shell. */
const hold = (bytes: number) => `x=$(busybox head -c ${bytes} /dev/zero | busybox tr '\\0' x); sleep 100000; echo $x`;

describe('what pods may use', { skip, timeout: 240_000 }, () => {
  let lab: PodLab;
  const enforced: (string | undefined)[] = [];
  before(async () => {
    lab = await createPodLab('res', {
      materials: {
        cgroups: {
          version: 1,
          driver: 'cgroupfs',
          root: ROOT,
          memoryBytes: ALLOCATABLE,
          enforced: (fault) => enforced.push(fault),
        },
        podPidsLimit: PIDS,
      },
    });
  });
  after(async () => {
    await lab?.end();
    await hostExec
      .run(['find', '/sys/fs/cgroup', '-depth', '-path', `*${ROOT}*`, '-type', 'd', '-delete'])
      .catch(() => {});
  });

  const status = (name: string) => lab.api.get(name)?.status;
  const cgroupFile = (controller: string, name: string, file: string) => {
    const pod = lab.api.get(name);
    const path = nodePaths({ rootDir: lab.kubeletDir, version: 1, driver: 'cgroupfs', cgroupRoot: ROOT }).cgroupOf(
      pod as NonNullable<typeof pod>,
    );
    return readFile(join('/sys/fs/cgroup', controller, path, file), 'utf8').then((text) => text.trim());
  };
  /** An eviction manager on these pods, which looks at once. */
  const evictor = async (thresholds: Threshold[], run: () => Promise<void>) => {
    const { layout, cgroups, kubepods, cgroupOf } = nodePaths({
      rootDir: lab.kubeletDir,
      version: 1,
      driver: 'cgroupfs',
      cgroupRoot: ROOT,
    });
    const told: string[] = [];
    const manager = new EvictionManager({
      thresholds,
      transitionMs: 300_000,
      maxPodGraceSeconds: 0,
      storageLimits: true,
      observe: () =>
        observe({
          signals: new Set(thresholds.map(({ signal }) => signal)),
          nodeDir: lab.kubeletDir,
          imageDir: lab.kubeletDir,
          cgroups,
          kubepods,
          allocatableMemory: ALLOCATABLE,
        }),
      hasImageFilesystem: async () => false,
      event: ({ reason }) => told.push(reason),
      changed: () => {},
      clock: systemClock,
      log: silentLogger,
    });
    await manager.start(new AbortController().signal);
    manager.attach({
      targets: lab.manager,
      measures: createMeasures({ runtime: lab.cri.runtime, cgroups, cgroupOf, layout, logDir: lab.logDir }),
    });
    try {
      await run();
    } finally {
      await manager.stop();
    }
    return { told, pressures: manager.pressures };
  };
  const evicted = (name: string) =>
    until(() => {
      const now = status(name);
      return now?.phase === 'Failed' && now.reason === 'Evicted' ? now : undefined;
    }, 40_000);

  it('is bound for all together, and for each as its limits say', async () => {
    assert.deepEqual(enforced, [undefined]);
    assert.equal(
      (await readFile(join('/sys/fs/cgroup/memory', ROOT, 'kubepods/memory.limit_in_bytes'), 'utf8')).trim(),
      String(ALLOCATABLE),
    );
    const resources = { requests: { cpu: '100m', memory: '16Mi' }, limits: { cpu: '500m', memory: '32Mi' } };
    lab.put('bound', { container: { resources } });
    await lab.ready('bound');
    assert.equal(await cgroupFile('memory', 'bound', 'memory.limit_in_bytes'), String(32 * MIB));
    assert.equal(await cgroupFile('cpu', 'bound', 'cpu.cfs_quota_us'), '50000');
    assert.equal(await cgroupFile('cpu', 'bound', 'cpu.shares'), '102');
    assert.equal(status('bound')?.qosClass, 'Burstable');
    await lab.remove('bound');
  });

  it('is bound by the pod where only that has limits', async () => {
    lab.put('whole', {
      spec: {
        resources: { limits: { memory: '48Mi', cpu: '1' } },
        containers: ['a', 'b'].map((name) => ({
          name,
          image: BUSYBOX,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', 'sleep 100000'],
        })),
      },
    });
    const pod = await lab.ready('whole');
    assert.equal(pod.status?.qosClass, 'Guaranteed');
    assert.equal(await cgroupFile('memory', 'whole', 'memory.limit_in_bytes'), String(48 * MIB));
    const container = pod.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') as string;
    assert.equal(await cgroupFile('memory', 'whole', `${container}/memory.limit_in_bytes`), String(48 * MIB));
    await lab.remove('whole');
  });

  it('a container that wants more memory is killed for it, alone', async () => {
    lab.put('neighbour');
    await lab.ready('neighbour');
    lab.put('greedy', {
      script: hold(200 * MIB),
      container: { resources: { limits: { memory: '24Mi' } } },
      spec: { restartPolicy: 'Never' },
    });
    const end = await until(() => status('greedy')?.containerStatuses?.[0]?.state?.terminated, 30_000);
    assert.deepEqual([end.reason, end.exitCode], ['OOMKilled', 137]);
    assert.equal(status('greedy')?.phase, 'Failed');
    assert.equal(status('neighbour')?.containerStatuses?.[0]?.restartCount, 0);
    await lab.remove('greedy', 'neighbour');
  });

  it('a container that forks without end is stopped by its number of processes', async () => {
    lab.put('neighbour');
    lab.put('bomb', { script: 'while true; do sleep 1000 & done', spec: { restartPolicy: 'Never' } });
    const end = await until(() => status('bomb')?.containerStatuses?.[0]?.state?.terminated, 30_000);
    assert.notEqual(end.exitCode, 0);
    await lab.ready('neighbour');
    await lab.remove('bomb', 'neighbour');
  });

  it('whoever holds the most memory goes when the node runs short, and nobody else', async () => {
    lab.put('small', { script: hold(2 * MIB) });
    lab.put('critical', { script: hold(40 * MIB), spec: { priority: 2_000_000_000 } });
    lab.put('hog', { script: hold(30 * MIB) });
    for (const name of ['small', 'critical', 'hog']) await lab.ready(name);
    const used = (name: string) => cgroupFile('memory', name, 'memory.usage_in_bytes').then(Number);
    await until(async () => (await used('hog')) > 30 * MIB && (await used('critical')) > 40 * MIB, 20_000);
    const threshold = 200 * MIB;
    const { told } = await evictor(
      [{ signal: 'allocatableMemory.available', value: { quantity: threshold }, graceMs: 0 }],
      async () => {
        const now = await evicted('hog');
        assert.match(
          now.message ?? '',
          /^The node was low on resource: memory\. Threshold quantity: 200Mi, available: \d+Ki\. Container main was using \d+Ki, request is 0, has larger consumption of memory\. $/,
        );
        const condition = now.conditions?.find((c) => c.type === 'DisruptionTarget');
        assert.deepEqual(
          [condition?.status, condition?.reason, condition?.message],
          ['True', 'TerminationByKubelet', now.message],
        );
        assert.equal(now.containerStatuses?.[0]?.state?.terminated?.exitCode, 137);
      },
    );
    assert.ok(told.includes('EvictionThresholdMet'));
    assert.equal(status('critical')?.phase, 'Running');
    assert.ok(lab.recorder.events.some((e) => e.name === 'hog' && e.type === 'Warning' && e.reason === 'Evicted'));
    await lab.remove('small', 'critical', 'hog');
  });

  it('pods that outgrow their part of the disk go: a volume, a log, a writable layer', async () => {
    const limit = (size: string) => ({ resources: { limits: { 'ephemeral-storage': size } } });
    const write = (file: string) => `busybox dd if=/dev/zero of=${file} bs=64k count=48; sleep 100000`;
    lab.put('volume', {
      script: write('/v/file'),
      container: { volumeMounts: [{ name: 'v', mountPath: '/v' }] },
      spec: { volumes: [{ name: 'v', emptyDir: { sizeLimit: '2Mi' } }] },
    });
    const other = {
      name: 'other',
      image: BUSYBOX,
      imagePullPolicy: 'IfNotPresent',
      command: ['sleep', '100000'],
      ...limit('50Mi'),
    };
    const main = {
      name: 'main',
      image: BUSYBOX,
      imagePullPolicy: 'IfNotPresent',
      command: ['sh', '-c', 'busybox yes | busybox head -c 1500000; sleep 100000'],
      ...limit('1Mi'),
    };
    lab.put('log', { spec: { containers: [main, other] } });
    lab.put('layer', { script: write('/tmp/file'), container: limit('2Mi') });
    lab.put('modest', { script: write('/tmp/file'), container: limit('20Mi') });
    for (const name of ['volume', 'log', 'layer', 'modest']) await lab.ready(name);
    const layer = async () => {
      const labels = { 'io.kubernetes.pod.name': 'layer' };
      return (await lab.cri.runtime.listContainerStats({ labels }))[0]?.writableLayer?.usedBytes ?? 0;
    };
    // containerd measures writable layers every ten seconds.
    await until(async () => (await diskUsage(lab.logDir)).bytes > 2 * MIB && (await layer()) > 2 * MIB, 30_000);
    await evictor([], async () => {
      const texts = (await Promise.all(['volume', 'log', 'layer'].map(evicted))).map(({ message }) => message);
      assert.deepEqual(texts, [
        'Usage of EmptyDir volume "v" exceeds the limit "2Mi". ',
        'Container main exceeded its local ephemeral storage limit "1Mi". ',
        'Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ',
      ]);
    });
    assert.equal(
      status('volume')?.conditions?.some((c) => c.type === 'DisruptionTarget'),
      false,
    );
    assert.equal(status('modest')?.phase, 'Running');
    await lab.remove('volume', 'log', 'layer', 'modest');
  });

  it('a bound that pods are beyond already waits, and says so', async () => {
    lab.put('holder', { script: hold(20 * MIB) });
    await lab.ready('holder');
    await until(async () => Number(await cgroupFile('memory', 'holder', 'memory.usage_in_bytes')) > 20 * MIB, 20_000);
    const faults: (string | undefined)[] = [];
    const abort = new AbortController();
    const manager = createCgroupManager({
      version: 1,
      driver: 'cgroupfs',
      root: ROOT,
      memoryBytes: 4 * MIB,
      enforced: (fault) => faults.push(fault),
      exec: hostExec,
      clock: systemClock,
      cpuCfsQuota: true,
    });
    await manager.start(abort.signal);
    abort.abort();
    assert.match(faults[0] ?? '', /EBUSY/);
    assert.equal(status('holder')?.phase, 'Running');
    await lab.remove('holder');
  });
});
