import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { EvictionManager, type NodeReclaim } from '../../../../src/kubelet/eviction/manager.ts';
import type { Observation, Signal } from '../../../../src/kubelet/eviction/signals.ts';
import { type Threshold, thresholdsOf } from '../../../../src/kubelet/eviction/thresholds.ts';
import type { Eviction } from '../../../../src/kubelet/pods/evict.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { makePod } from '../../../fakes/pods.ts';

const GIB = 2 ** 30;
const MEMORY: Threshold = { signal: 'memory.available', value: { quantity: GIB }, graceMs: 0 };
const DISK: Threshold[] = thresholdsOf({
  evictionHard: { 'nodefs.available': { share: 0.05 }, 'imagefs.available': { share: 0.05 } },
  evictionSoft: {},
  evictionSoftGracePeriod: {},
  evictionMinimumReclaim: {},
  mergeDefaultEvictionSettings: false,
  enforceNodeAllocatable: ['pods'],
});

class Board {
  readonly clock = new FakeClock();
  readonly seen = new Map<Signal, Observation>();
  readonly memory = new Map<string, number>();
  readonly volume = new Map<string, number>();
  readonly evicted: { name: string; eviction: Eviction }[] = [];
  readonly events: string[] = [];
  pods: Pod[] = [];
  looks = 0;
  walks = 0;
  changes = 0;
  /** What an eviction frees. */
  onEvict: (pod: Pod) => void = () => {};
  readonly manager: EvictionManager;

  constructor(
    thresholds: readonly Threshold[],
    extra: { maxPodGraceSeconds?: number; imageFilesystem?: boolean } = {},
  ) {
    this.manager = new EvictionManager({
      thresholds,
      transitionMs: 300_000,
      maxPodGraceSeconds: extra.maxPodGraceSeconds ?? 0,
      storageLimits: true,
      observe: async () => {
        this.looks++;
        return new Map(this.seen);
      },
      hasImageFilesystem: async () => extra.imageFilesystem ?? false,
      event: ({ reason, message }) => this.events.push(`${reason}: ${message}`),
      changed: () => this.changes++,
      clock: this.clock,
      log: silentLogger,
    });
  }

  async start(reclaim: NodeReclaim = {}): Promise<void> {
    await this.manager.start(new AbortController().signal);
    this.manager.attach({
      targets: {
        active: () => this.pods,
        evict: async (uid, eviction) => {
          const pod = this.pods.find((p) => p.metadata.uid === uid) as Pod;
          this.pods = this.pods.filter((p) => p !== pod);
          this.evicted.push({ name: pod.metadata.name ?? '', eviction });
          this.onEvict(pod);
        },
      },
      measures: {
        memory: async (pod) => this.memory.get(pod.metadata.name ?? ''),
        tasks: async () => 1,
        disk: async (pods) => {
          this.walks++;
          return new Map(
            pods.map((pod) => {
              const use = { bytes: this.volume.get(pod.metadata.name ?? '') ?? 0, inodes: 1 };
              return [pod.metadata.uid as string, { containers: [], volumes: [{ name: 'v', use }] }];
            }),
          );
        },
        containers: async () => [],
      },
      reclaim,
    });
    await settle();
  }

  set(signal: Signal, available: number, capacity: number): void {
    this.seen.set(signal, { available, capacity });
  }
}

describe('a node that runs short', () => {
  it('puts off one pod after the other until it has enough, and tells of it', async () => {
    const board = new Board([MEMORY]);
    board.set('memory.available', 1.5 * GIB, 4 * GIB);
    board.pods = ['a', 'b', 'c'].map((name) => makePod(name));
    board.pods.push(makePod('critical', { priority: 2_000_001_000 }));
    for (const [name, use] of Object.entries({ a: 1, b: 3, c: 2, critical: 9 })) board.memory.set(name, use);
    board.onEvict = () => {
      if (board.evicted.length === 2) board.set('memory.available', 3 * GIB, 4 * GIB);
    };
    await board.start();
    assert.equal(board.evicted.length, 0);
    board.set('memory.available', GIB / 2, 4 * GIB);
    await board.clock.advance(10_000);
    assert.deepEqual(
      board.evicted.map(({ name }) => name),
      ['b'],
    );
    await board.clock.advance(2_000);
    assert.deepEqual(
      board.evicted.map(({ name }) => name),
      ['b', 'c'],
    );
    await board.clock.advance(60_000);
    assert.equal(board.evicted.length, 2);
    const [first] = board.evicted;
    assert.equal(first?.eviction.reason, 'Evicted');
    assert.equal(first?.eviction.graceSeconds, 1);
    assert.equal(first?.eviction.disruption, first?.eviction.message);
    assert.match(
      first?.eviction.message ?? '',
      /low on resource: memory\. Threshold quantity: 1Gi, available: 512Mi\. $/,
    );
    assert.deepEqual(board.events, Array(2).fill('EvictionThresholdMet: Attempting to reclaim memory'));
    assert.deepEqual(await board.manager.conditions(), {
      memoryPressure: true,
      diskPressure: false,
      pidPressure: false,
    });
    await board.clock.advance(300_000);
    assert.deepEqual(board.manager.pressures, []);
    assert.equal(board.changes, 2);
  });

  it('gives pods their grace, up to a bound, for a soft threshold', async () => {
    const soft = { ...MEMORY, graceMs: 30_000 };
    const board = new Board([soft], { maxPodGraceSeconds: 20 });
    board.set('memory.available', GIB / 2, 4 * GIB);
    board.pods = [makePod('long', { terminationGracePeriodSeconds: 300 })];
    await board.start();
    await board.clock.advance(29_000);
    assert.deepEqual([board.evicted.length, board.manager.pressures], [0, ['MemoryPressure']]);
    await board.clock.advance(11_000);
    assert.equal(board.evicted[0]?.eviction.graceSeconds, 20);
  });

  it('removes images nobody uses first, and no pod if that is enough', async () => {
    const board = new Board(DISK);
    board.set('nodefs.available', 1, 100);
    board.pods = [makePod('a')];
    await board.start({
      images: async () => {
        board.set('nodefs.available', 50, 100);
      },
    });
    assert.deepEqual([board.evicted, board.manager.pressures], [[], ['DiskPressure']]);
    const own = new Board(DISK, { imageFilesystem: true });
    own.set('nodefs.available', 1, 100);
    own.pods = [makePod('a')];
    await own.start({ images: () => Promise.reject(new Error('not asked: images lie on another disk')) });
    assert.deepEqual(
      own.evicted.map(({ name }) => name),
      ['a'],
    );
  });

  it('goes on when something can not be freed or measured', async () => {
    const board = new Board(DISK);
    board.set('nodefs.available', 1, 100);
    board.pods = [makePod('a')];
    await board.start({ images: () => Promise.reject(new Error('the runtime is away')) });
    assert.equal(board.evicted.length, 1);
    await board.manager.stop();
    assert.equal(board.clock.timers, 0);
  });

  it('puts off pods that outgrow their disk, which is no disruption for the sake of others', async () => {
    const board = new Board(DISK);
    const limited = (name: string) => makePod(name, { volumes: [{ name: 'v', emptyDir: { sizeLimit: '100' } }] });
    board.pods = [limited('a'), limited('b'), makePod('free')];
    board.volume.set('free', 1e9);
    await board.start();
    assert.deepEqual([board.evicted.length, board.walks], [0, 1]);
    board.volume.set('b', 101);
    await board.clock.advance(10_000);
    assert.deepEqual(board.evicted, [
      {
        name: 'b',
        eviction: {
          reason: 'Evicted',
          message: 'Usage of EmptyDir volume "v" exceeds the limit "100". ',
          graceSeconds: 1,
        },
      },
    ]);
  });

  it('costs a few small reads twice a minute while nothing is near', async () => {
    const board = new Board(DISK);
    board.set('nodefs.available', 60, 100);
    board.set('imagefs.available', 60, 100);
    board.pods = [makePod('a'), makePod('b')];
    await board.start();
    const before = board.looks;
    await board.clock.advance(600_000);
    assert.equal(board.looks - before, 20);
    assert.equal(board.walks, 0);
  });
});
