import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import {
  cgroupNames,
  podCgroupResources,
  settingsFor,
  sharesToWeight,
  unitProperties,
} from '../../../../src/kubelet/cgroups/index.ts';

const pod = (...resources: object[]): Pod =>
  ({
    metadata: { name: 'p', namespace: 'ns', uid: 'aa-bb' },
    spec: { containers: resources.map((r, i) => ({ name: `c${i}`, resources: r })) },
  }) as unknown as Pod;
const of = (p: Pod) => podCgroupResources(p, { cpuCfsQuota: true });

describe('cgroup names', () => {
  it('nest tiers as folders with cgroupfs', () => {
    const names = cgroupNames('cgroupfs', '/');
    assert.equal(names.parent('aa-bb', 'Burstable'), '/kubepods/burstable/podaa-bb');
    assert.equal(names.parent('aa-bb', 'Guaranteed'), '/kubepods/podaa-bb');
    assert.equal(cgroupNames('cgroupfs', '/lab').pod('u', 'BestEffort'), '/lab/kubepods/besteffort/podu');
    assert.equal(names.uidOf('podaa-bb'), 'aa-bb');
    assert.equal(names.uidOf('burstable'), undefined);
  });

  it('nest tiers as slices with systemd', () => {
    const names = cgroupNames('systemd', '/');
    assert.equal(names.parent('aa-bb', 'Burstable'), 'kubepods-burstable-podaa_bb.slice');
    assert.equal(
      names.pod('aa-bb', 'BestEffort'),
      '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podaa_bb.slice',
    );
    assert.equal(names.pod('aa-bb', 'Guaranteed'), '/kubepods.slice/kubepods-podaa_bb.slice');
    assert.equal(names.uidOf('kubepods-burstable-podaa_bb.slice'), 'aa-bb');
    assert.equal(names.uidOf('kubepods-podaa_bb.slice'), 'aa-bb');
    assert.equal(names.uidOf('kubepods-burstable.slice'), undefined);
  });

  it('refuse a uid that leads elsewhere', () => {
    assert.throws(() => cgroupNames('cgroupfs', '/').pod('../../x', 'Burstable'));
  });
});

describe('a pod cgroup', () => {
  it('is bound to the sum of limits if every container has one', () => {
    const limits = { cpu: '500m', memory: '64Mi' };
    assert.deepEqual(of(pod({ limits, requests: limits }, { limits, requests: limits })), {
      cpuShares: 1024,
      cpuQuota: 100_000,
      memory: 2 ** 27,
    });
    assert.deepEqual(of(pod({ limits }, { requests: { cpu: '100m' } })), { cpuShares: 614 });
  });

  it('of a pod that asks for nothing has the least weight', () => {
    assert.deepEqual(of(pod({})), { cpuShares: 2 });
    assert.deepEqual(podCgroupResources(pod({}), { cpuCfsQuota: true, pidsLimit: 100 }), { cpuShares: 2, pids: 100 });
  });

  it('holds its huge pages', () => {
    const limits = { memory: '64Mi', 'hugepages-2Mi': '4Mi' };
    assert.deepEqual(settingsFor({ hugepages: of(pod({ limits })).hugepages as Map<string, number> }, 2), [
      { controller: 'hugetlb', file: 'hugetlb.2MB.max', value: '4194304' },
    ]);
  });

  it('is written in the terms of each version', () => {
    const all = { cpuShares: 1024, cpuQuota: 50_000, memory: 1024, pids: 9 };
    assert.deepEqual(
      settingsFor(all, 1).map((s) => `${s.controller}/${s.file}=${s.value}`),
      [
        'cpu/cpu.shares=1024',
        'cpu/cpu.cfs_period_us=100000',
        'cpu/cpu.cfs_quota_us=50000',
        'memory/memory.limit_in_bytes=1024',
        'pids/pids.max=9',
      ],
    );
    assert.deepEqual(
      settingsFor(all, 2).map((s) => `${s.file}=${s.value}`),
      ['cpu.weight=39', 'cpu.max=50000 100000', 'memory.max=1024', 'pids.max=9'],
    );
    assert.deepEqual(unitProperties(all, 2), [
      ['CPUWeight', 't', '39'],
      ['CPUQuotaPerSecUSec', 't', '500000'],
      ['MemoryMax', 't', '1024'],
      ['TasksMax', 't', '9'],
    ]);
    assert.deepEqual([sharesToWeight(2), sharesToWeight(262_144)], [1, 10_000]);
  });
});
