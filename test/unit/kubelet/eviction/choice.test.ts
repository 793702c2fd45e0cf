import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { refusedUnderPressure } from '../../../../src/kubelet/eviction/admission.ts';
import { diskUsage } from '../../../../src/kubelet/eviction/disk-usage.ts';
import { evictionText } from '../../../../src/kubelet/eviction/message.ts';
import { rankForEviction } from '../../../../src/kubelet/eviction/rank.ts';
import { brokenStorageLimit, hasStorageLimit } from '../../../../src/kubelet/eviction/storage-limits.ts';
import type { Threshold } from '../../../../src/kubelet/eviction/thresholds.ts';
import { makePod } from '../../../fakes/pods.ts';

const MIB = 2 ** 20;
const asking = (name: string, memory: string | undefined, priority?: number, usage?: number) => ({
  usage,
  pod: makePod(name, {
    ...(priority === undefined ? {} : { priority }),
    containers: [{ name: 'main', resources: memory === undefined ? {} : { requests: { memory } } }],
  }),
});
const order = (list: ReturnType<typeof asking>[], resource: 'memory' | 'pids' | 'ephemeral-storage' = 'memory') =>
  rankForEviction(
    list.map(({ pod }) => pod),
    resource,
    (pod) => list.find((entry) => entry.pod === pod)?.usage,
  ).map((pod) => pod.metadata.name);

describe('who has to go first', () => {
  it('memory: above their requests before others, then the less important, then the furthest above', () => {
    assert.deepEqual(
      order([
        asking('within', '500Mi', -10, 400 * MIB),
        asking('important', '10Mi', 1000, 900 * MIB),
        asking('small', undefined, 0, 50 * MIB),
        asking('big', '100Mi', 0, 300 * MIB),
        asking('unknown', undefined, 5000),
      ]),
      ['unknown', 'big', 'small', 'important', 'within'],
    );
  });

  it('processes: the less important, then those with the most', () => {
    assert.deepEqual(order([asking('a', '1Gi', 1, 500), asking('b', '1Gi', 0, 3), asking('c', '1Gi', 0, 9)], 'pids'), [
      'c',
      'b',
      'a',
    ]);
  });
});

describe('why a pod had to go', () => {
  const hard: Threshold = { signal: 'memory.available', value: { quantity: 100 * MIB }, graceMs: 0 };

  it('is told in upstream words, with the containers above their requests', () => {
    const pod = makePod('p', {
      containers: [
        { name: 'a', resources: { requests: { memory: '64Mi' } } },
        { name: 'b', resources: { requests: { memory: '512Mi' } } },
        { name: 'c' },
      ],
    });
    const seen = new Map([['memory.available' as const, { available: 71 * MIB, capacity: 1024 * MIB }]]);
    const containers = [
      { name: 'a', bytes: 80 * MIB },
      { name: 'b', bytes: 80 * MIB },
      { name: 'c', bytes: 4096 },
    ];
    assert.deepEqual(evictionText(pod, { resource: 'memory', acting: [hard], seen }, { containers }), {
      message:
        'The node was low on resource: memory. Threshold quantity: 100Mi, available: 71Mi. ' +
        'Container a was using 80Mi, request is 64Mi, has larger consumption of memory. ' +
        'Container c was using 4Ki, request is 0, has larger consumption of memory. ',
      annotations: {
        offending_containers: 'a,c',
        offending_containers_usage: '80Mi,4Ki',
        starved_resource: 'memory',
      },
    });
  });

  it('names the pod where it asks for memory as a whole', () => {
    const pod = makePod('p', { resources: { requests: { memory: '64Mi' } } } as Partial<Pod['spec']>);
    const { message } = evictionText(
      pod,
      { resource: 'memory', acting: [], seen: new Map() },
      { pod: 5000, containers: [] },
    );
    assert.match(message, /^The node was low on resource: memory\. Pod p was using 5000, request is 64Mi, has larger/);
  });
});

describe('a node under pressure', () => {
  const best = makePod('best');
  const burst = makePod('burst', { containers: [{ name: 'm', resources: { requests: { cpu: '1m' } } }] });
  const critical = makePod('critical', { priority: 2_000_000_000 });
  const tolerant = makePod('tolerant', { tolerations: [{ operator: 'Exists', effect: 'NoSchedule' }] });

  it('of memory takes in no best effort pod that does not tolerate it; of others only critical ones', () => {
    const names = (pressures: ('MemoryPressure' | 'DiskPressure')[]) =>
      [best, burst, critical, tolerant]
        .filter((pod) => !refusedUnderPressure(pod, pressures))
        .map((p) => p.metadata.name);
    assert.deepEqual(names([]), ['best', 'burst', 'critical', 'tolerant']);
    assert.deepEqual(names(['MemoryPressure']), ['burst', 'critical', 'tolerant']);
    assert.deepEqual(names(['DiskPressure']), ['critical']);
    assert.equal(
      refusedUnderPressure(best, ['MemoryPressure', 'DiskPressure']),
      'The node had condition: [MemoryPressure DiskPressure]. ',
    );
  });
});

describe('limits of local storage', () => {
  const use = (bytes: number) => ({ bytes, inodes: 1 });
  const limited = (limit: string | undefined, name = 'main') => ({
    name,
    ...(limit === undefined ? {} : { resources: { limits: { 'ephemeral-storage': limit } } }),
  });
  const broken = (pod: Pod, disk: { root?: number; logs?: number; volume?: number }, imageFilesystem = false) =>
    brokenStorageLimit(
      pod,
      {
        containers: [{ name: 'main', root: use(disk.root ?? 0), logs: use(disk.logs ?? 0) }],
        volumes: disk.volume === undefined ? [] : [{ name: 'v', use: use(disk.volume) }],
      },
      { imageFilesystem },
    );

  it('are watched only where there are some', () => {
    assert.equal(hasStorageLimit(makePod('p', { volumes: [{ name: 'v', emptyDir: {} }] })), false);
    const memory = makePod('p', { volumes: [{ name: 'v', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }] });
    assert.equal(hasStorageLimit(memory), false, 'the kernel holds those');
    assert.equal(hasStorageLimit(makePod('p', { volumes: [{ name: 'v', emptyDir: { sizeLimit: '1Mi' } }] })), true);
    assert.equal(hasStorageLimit(makePod('p', { containers: [limited('1Gi')] })), true);
  });

  it('are told of in upstream words', () => {
    const volume = makePod('p', { volumes: [{ name: 'v', emptyDir: { sizeLimit: '10Mi' } }] });
    assert.equal(broken(volume, { volume: 10 * MIB }), undefined);
    assert.equal(broken(volume, { volume: 10 * MIB + 1 }), 'Usage of EmptyDir volume "v" exceeds the limit "10Mi". ');
    const container = makePod('p', { containers: [limited('20Mi')] });
    assert.equal(
      broken(container, { root: 15 * MIB, volume: 6 * MIB }),
      'Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. ',
    );
    const two = makePod('p', { containers: [limited('20Mi'), limited('50Mi', 'other')] });
    assert.equal(
      broken(two, { root: 15 * MIB, logs: 6 * MIB }),
      'Container main exceeded its local ephemeral storage limit "20Mi". ',
    );
    assert.equal(broken(two, { root: 15 * MIB, logs: 6 * MIB }, true), undefined, 'writable layers lie elsewhere');
  });

  it('that can not be read limit nothing', () => {
    assert.equal(broken(makePod('p', { containers: [limited('lots')] }), { root: 1e15 }), undefined);
  });

  it('are measured in blocks, each file once, nothing behind links', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-usage-'));
    try {
      await mkdir(join(dir, 'top/deep/er'), { recursive: true });
      await writeFile(join(dir, 'top/deep/er/file'), Buffer.alloc(100_000, 1));
      await writeFile(join(dir, 'outside'), Buffer.alloc(5_000_000, 1));
      await symlink(join(dir, 'outside'), join(dir, 'top/link'));
      await symlink(dir, join(dir, 'top/loop'));
      await writeFile(join(dir, 'top/sparse'), '');
      await truncate(join(dir, 'top/sparse'), 2 ** 30);
      const { bytes, inodes } = await diskUsage(join(dir, 'top'));
      assert.ok(bytes >= 100_000 && bytes < 200_000, String(bytes));
      assert.equal(inodes, 7);
      assert.deepEqual(await diskUsage(join(dir, 'nothing')), { bytes: 0, inodes: 0 });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
