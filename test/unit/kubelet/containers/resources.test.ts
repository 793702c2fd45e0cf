import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { podCgroupResources, settingsFor, unitProperties } from '../../../../src/kubelet/cgroups/index.ts';
import {
  type AnyContainer,
  containerResources,
  oomScoreAdj,
  podLimits,
  podRequests,
  qosClassOf,
  type ResourceHost,
} from '../../../../src/kubelet/containers/index.ts';
import { podResourcesOf } from '../../../../src/kubelet/pods/status/resources.ts';
import { makePod } from '../../../fakes/pods.ts';

const GIB = 2 ** 30;
const HOST: ResourceHost = {
  cgroupVersion: 2,
  memoryCapacity: GIB,
  cpuCfsQuota: true,
  swapController: true,
  swapBytes: 0,
  singleProcessOomKill: false,
  hugepageUnits: ['2MB', '1GB'],
};
const c = (name: string, resources: object = {}, extra: object = {}) => ({ name, resources, ...extra });
const pod = (spec: object): Pod => makePod('p', spec as Partial<Pod['spec']>);
const first = (p: Pod) => p.spec.containers[0] as AnyContainer;
const cgroup = (p: Pod) => podCgroupResources(p, { cpuCfsQuota: true });

describe('resources of a pod as a whole', () => {
  const level = pod({
    resources: {
      requests: { cpu: '1', memory: '512Mi' },
      limits: { cpu: '2', memory: '768Mi', 'hugepages-2Mi': '4Mi' },
    },
    containers: [c('a', { requests: { memory: '128Mi' }, limits: { memory: '256Mi' } }), c('b')],
  });

  it('count instead of the sum of its containers', () => {
    assert.deepEqual([podRequests(level).get('cpu'), podRequests(level).get('memory')], [1000, GIB / 2]);
    assert.deepEqual(cgroup(level), {
      cpuShares: 1024,
      cpuQuota: 200_000,
      memory: 768 * 2 ** 20,
      hugepages: new Map([['2MB', 4 * 2 ** 20]]),
    });
    assert.equal(qosClassOf(level), 'Burstable');
    const same = { cpu: '1', memory: '1Gi' };
    assert.equal(qosClassOf(pod({ resources: { limits: same }, containers: [c('a')] })), 'Guaranteed');
    assert.equal(qosClassOf(pod({ resources: { limits: { cpu: '1' } }, containers: [c('a')] })), 'Burstable');
  });

  it('bind containers that have no bounds of their own', () => {
    const [a, b] = level.spec.containers as [AnyContainer, AnyContainer];
    const own = containerResources(level, a, HOST);
    assert.deepEqual([own.memoryLimitInBytes, own.cpuQuota, own.cpuShares], [256 * 2 ** 20, 200_000, 2048]);
    const whole = containerResources(level, b, HOST);
    assert.deepEqual([whole.memoryLimitInBytes, whole.cpuQuota], [768 * 2 ** 20, 200_000]);
    assert.deepEqual(whole.hugepageLimits, [
      { pageSize: '2MB', limit: 4 * 2 ** 20 },
      { pageSize: '1GB', limit: 0 },
    ]);
  });

  it('spare each container its part of what nobody claims when memory ends', () => {
    // 128 MiB of its own, and half of the 384 MiB that are left.
    assert.equal(oomScoreAdj(level, first(level), GIB), 1000 - 312);
  });

  it('may be asked for by a limit alone', () => {
    const limit = pod({ resources: { limits: { memory: '64Mi' } }, containers: [c('a')] });
    assert.equal(podRequests(limit).get('memory'), 64 * 2 ** 20);
    const claimed = pod({
      resources: { limits: { memory: '64Mi' } },
      containers: [c('a', { requests: { memory: '8Mi' } })],
    });
    assert.equal(podRequests(claimed).get('memory'), 8 * 2 ** 20);
  });
});

describe('sums over containers', () => {
  const memory = (amount: string) => ({ requests: { memory: amount }, limits: { memory: amount } });

  it('are of what runs at one time; overhead is added where something is limited', () => {
    const p = pod({
      overhead: { cpu: '250m', memory: '100Mi' },
      initContainers: [
        c('i', memory('300Mi')),
        c('s', memory('50Mi'), { restartPolicy: 'Always' }),
        c('j', memory('10Mi')),
      ],
      containers: [c('a', memory('100Mi')), c('b', memory('100Mi'))],
    });
    assert.equal(podRequests(p).get('memory'), 400 * 2 ** 20);
    assert.equal(podRequests(p, { overhead: false }).get('memory'), 300 * 2 ** 20);
    assert.deepEqual([podRequests(p).get('cpu'), podLimits(p).get('cpu')], [250, undefined]);
    assert.equal(cgroup(p).memory, 400 * 2 ** 20);
  });

  it('bind the pod only if every container is bound', () => {
    const half = pod({
      containers: [c('a', { limits: { memory: '1Mi', cpu: '1' } }), c('b', { limits: { memory: '1Mi' } })],
    });
    assert.deepEqual([cgroup(half).memory, cgroup(half).cpuQuota], [2 ** 21, undefined]);
    assert.deepEqual(podResourcesOf(half).limits, { memory: '2Mi' });
  });

  it('are written in the units of their first part, also of amounts that do not divide', () => {
    const p = pod({
      containers: [c('a', { requests: { memory: '128M', cpu: '1500m' } }), c('b', { requests: { memory: '72M' } })],
    });
    assert.deepEqual(podResourcesOf(p).requests, { cpu: '1500m', memory: '200M' });
    const odd = pod({ containers: [c('a', { requests: { memory: '1000' } })] });
    assert.deepEqual(podResourcesOf(odd).requests, { memory: '1000' });
    assert.deepEqual(podResourcesOf(pod({ containers: [c('a', { requests: { memory: 'lots' } })] })), {
      requests: undefined,
      limits: undefined,
    });
  });
});

describe('swap', () => {
  const swapOf = (p: Pod, host: Partial<ResourceHost> = {}) =>
    containerResources(p, first(p), { ...HOST, swapBytes: GIB / 2, ...host }).unified?.['memory.swap.max'];
  const burstable = pod({ containers: [c('a', { requests: { memory: '256Mi' } })] });

  it('is for burstable containers by their share of the memory, where it is allowed', () => {
    assert.equal(swapOf(burstable), String(128 * 2 ** 20));
    assert.equal(swapOf(burstable, { swapBytes: 0 }), '0');
    assert.equal(swapOf(pod({ containers: [c('a')] })), '0');
    assert.equal(swapOf(pod({ containers: [c('a', { limits: { memory: '1Mi', cpu: '1' } })] })), '0');
    assert.equal(
      swapOf(pod({ containers: [c('a', { requests: { memory: '1Mi' }, limits: { memory: '1Mi' } })] })),
      '0',
    );
    assert.equal(swapOf(pod({ ...burstable.spec, priority: 2_000_000_000 })), '0');
    assert.equal(swapOf(burstable, { swapController: false }), undefined);
  });

  it('of cgroup v1 is none beyond the memory limit', () => {
    const limited = pod({ containers: [c('a', { limits: { memory: '1Mi' } })] });
    const v1 = containerResources(limited, first(limited), { ...HOST, cgroupVersion: 1, swapBytes: GIB });
    assert.deepEqual([v1.memorySwapLimitInBytes, v1.unified], [2 ** 20, undefined]);
  });
});

describe('processes of a container that is out of memory', () => {
  it('end together unless told otherwise', () => {
    const p = pod({ containers: [c('a')] });
    assert.equal(containerResources(p, first(p), HOST).unified?.['memory.oom.group'], '1');
    const single = containerResources(p, first(p), { ...HOST, singleProcessOomKill: true });
    assert.equal(single.unified?.['memory.oom.group'], undefined);
  });
});

describe('the smallest and largest amounts', () => {
  it('stay within what the kernel takes', () => {
    const tiny = pod({ containers: [c('a', { limits: { cpu: '1m', memory: '1' } })] });
    assert.deepEqual(settingsFor(cgroup(tiny), 2), [
      { controller: 'cpu', file: 'cpu.weight', value: '1' },
      { controller: 'cpu', file: 'cpu.max', value: '1000 100000' },
      { controller: 'memory', file: 'memory.max', value: '1' },
    ]);
    const huge = pod({ containers: [c('a', { requests: { cpu: '1000000' } })] });
    assert.deepEqual(settingsFor(cgroup(huge), 1), [{ controller: 'cpu', file: 'cpu.shares', value: '262144' }]);
    // systemd counts whole percents of a processor.
    const odd = pod({ containers: [c('a', { limits: { cpu: '123m' } })] });
    assert.deepEqual(unitProperties(cgroup(odd), 2)[1], ['CPUQuotaPerSecUSec', 't', '130000']);
    assert.deepEqual(unitProperties(cgroup(odd), 1), [
      ['CPUShares', 't', '125'],
      ['CPUQuotaPerSecUSec', 't', '130000'],
    ]);
  });
});
