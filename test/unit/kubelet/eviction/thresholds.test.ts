import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseMeminfo } from '../../../../src/hardware/index.ts';
import { availableMemory } from '../../../../src/kubelet/eviction/observe.ts';
import { nextLookMs, nextStorageLookMs } from '../../../../src/kubelet/eviction/schedule.ts';
import type { Observations, Signal } from '../../../../src/kubelet/eviction/signals.ts';
import {
  assess,
  CALM,
  type EvictionSettings,
  hardReservation,
  type Threshold,
  thresholdsOf,
} from '../../../../src/kubelet/eviction/thresholds.ts';

const GIB = 2 ** 30;
const K3S: EvictionSettings = {
  evictionHard: { 'imagefs.available': { share: Math.fround(0.05) }, 'nodefs.available': { share: Math.fround(0.05) } },
  evictionSoft: {},
  evictionSoftGracePeriod: {},
  evictionMinimumReclaim: { 'imagefs.available': { share: 0.1 }, 'nodefs.available': { share: 0.1 } },
  mergeDefaultEvictionSettings: false,
  enforceNodeAllocatable: ['pods'],
};
const seen = (values: Partial<Record<Signal, number>>, capacity = 100 * GIB): Observations =>
  new Map(Object.entries(values).map(([signal, available]) => [signal as Signal, { available, capacity }]));
const signals = (list: readonly Threshold[]) => list.map(({ signal }) => signal).sort();

describe('eviction thresholds', () => {
  it('are the two of k3s for disk unless others are set; memory counts for the node and for all pods together', () => {
    assert.deepEqual(signals(thresholdsOf(K3S)), ['imagefs.available', 'nodefs.available']);
    const own = {
      ...K3S,
      evictionHard: { 'memory.available': { quantity: 1 }, 'containerfs.available': { share: 0.1 } },
    };
    assert.deepEqual(signals(thresholdsOf(own)), ['allocatableMemory.available', 'memory.available']);
    assert.deepEqual(signals(thresholdsOf({ ...own, enforceNodeAllocatable: ['none'] })), ['memory.available']);
    assert.deepEqual(signals(thresholdsOf({ ...K3S, mergeDefaultEvictionSettings: true })), [
      'allocatableMemory.available',
      'imagefs.available',
      'imagefs.inodesFree',
      'memory.available',
      'nodefs.available',
      'nodefs.inodesFree',
    ]);
  });

  it('keep back from the allocatable what they keep free', () => {
    const capacity = { memory: GIB, ephemeralStorage: 264212084 * 1024 };
    const kept = hardReservation(K3S, capacity);
    // The original's Node of that size: 257025515114 bytes allocatable.
    assert.equal(Math.floor(capacity.ephemeralStorage - kept.ephemeralStorage), 257025515114);
    assert.equal(kept.memory, 0);
    const own = { ...K3S, evictionHard: { 'memory.available': { quantity: 100 * 2 ** 20 } } };
    assert.deepEqual(hardReservation(own, capacity), { memory: 100 * 2 ** 20, ephemeralStorage: 0 });
  });

  it('act at once when hard, and until the minimum is reclaimed; the condition outlasts them', () => {
    const thresholds = thresholdsOf(K3S);
    const look = (state: typeof CALM, available: number, now: number) =>
      assess(state, { thresholds, seen: seen({ 'nodefs.available': available * GIB }), now, transitionMs: 300_000 });
    const fine = look(CALM, 6, 0);
    assert.deepEqual([fine.pressures, fine.acting], [[], []]);
    const short = look(fine, 4, 10_000);
    assert.deepEqual([short.pressures, signals(short.acting)], [['DiskPressure'], ['nodefs.available']]);
    const more = look(short, 14, 20_000);
    assert.deepEqual(signals(more.acting), ['nodefs.available'], '10 % beyond the threshold are to be freed');
    const enough = look(more, 16, 30_000);
    assert.deepEqual([enough.pressures, enough.acting], [['DiskPressure'], []]);
    assert.deepEqual(look(enough, 16, 319_999).pressures, ['DiskPressure']);
    assert.deepEqual(look(enough, 16, 320_000).pressures, []);
  });

  it('act after their grace when soft, counted from when they were crossed without a break', () => {
    const thresholds = thresholdsOf({
      ...K3S,
      evictionHard: {},
      evictionSoft: { 'memory.available': { quantity: GIB } },
      evictionSoftGracePeriod: { 'memory.available': 60_000 },
    });
    const look = (state: typeof CALM, available: number, now: number) =>
      assess(state, { thresholds, seen: seen({ 'memory.available': available * GIB }), now, transitionMs: 1_000 });
    const first = look(CALM, 0.5, 0);
    assert.deepEqual([first.pressures, first.acting], [['MemoryPressure'], []]);
    assert.deepEqual(look(first, 0.5, 59_999).acting, []);
    assert.deepEqual(signals(look(first, 0.5, 60_000).acting), ['memory.available']);
    const broken = look(look(first, 2, 30_000), 0.5, 40_000);
    assert.deepEqual(look(broken, 0.5, 60_000).acting, []);
  });

  it('say nothing of what could not be measured', () => {
    const state = assess(CALM, { thresholds: thresholdsOf(K3S), seen: new Map(), now: 0, transitionMs: 1 });
    assert.deepEqual([state.pressures, state.acting], [[], []]);
  });
});

describe('looking at the node', () => {
  const thresholds = thresholdsOf(K3S);
  const next = (now: number, before: number, elapsedMs = 30_000) =>
    nextLookMs(CALM, thresholds, {
      seen: seen({ 'nodefs.available': now * GIB }),
      before: seen({ 'nodefs.available': before * GIB }),
      elapsedMs,
    });

  it('is rare while nothing is near, and as frequent as the one of the kubelet when it is or soon will be', () => {
    assert.equal(next(50, 50), 30_000);
    assert.equal(next(9, 9), 10_000);
    assert.equal(next(40, 80), 10_000, 'it falls fast');
    assert.equal(next(40, 80, 300_000), 30_000, 'it falls slowly');
    assert.deepEqual([nextStorageLookMs(1), nextStorageLookMs(60), nextStorageLookMs(5_000)], [10_000, 30_000, 60_000]);
  });

  const MEMINFO = `MemTotal:        1000000 kB
MemFree:          100000 kB
MemAvailable:     500000 kB
Buffers:           10000 kB
Cached:           400000 kB
SwapCached:            0 kB
Inactive(anon):   150000 kB
Inactive(file):   250000 kB
AnonPages:        300000 kB
SwapFree:         100000 kB
`;

  it('counts as available all but the working set, as the original', () => {
    const meminfo = parseMeminfo(MEMINFO);
    assert.deepEqual(availableMemory(meminfo, undefined), {
      available: (1000000 - 460000) * 1024,
      capacity: 1000000 * 1024,
    });
  });

  it('counts swap that idle memory can still go to, and half of it if it is compressed memory itself', () => {
    const meminfo = parseMeminfo(MEMINFO);
    const kib = (swap: { isCompressed: boolean; fixed: number }) => availableMemory(meminfo, swap).available / 1024;
    assert.equal(kib({ isCompressed: false, fixed: 0 }), 640000);
    assert.equal(kib({ isCompressed: true, fixed: 0 }), 590000);
    assert.equal(kib({ isCompressed: false, fixed: 100000 * 1024 }), 590000, 'what containers hold can not be swapped');
  });
});
