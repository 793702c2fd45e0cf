import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CriImage } from '../../../../src/cri/types.ts';
import type { Node } from '../../../../src/kube/index.ts';
import { kubeletVersion, nodeAllocatable, nodeCapacity, nodeConditions } from '../../../../src/kubelet/node/index.ts';
import { metadataPatch } from '../../../../src/kubelet/node/metadata-patch.ts';
import { nodeImages, statusPatch } from '../../../../src/kubelet/node/status-patch.ts';

const healthy = { memoryPressure: false, diskPressure: false, pidPressure: false, notReady: [] };
const stored = (status: Node['status']): Node => ({ metadata: { name: 'n' }, status: status as never });

test('the reported version is never newer than the server', () => {
  assert.equal(kubeletVersion('v1.21.3+k3s1', 'v1.36.3+k3s1'), 'v1.21.3+k3s1');
  assert.equal(kubeletVersion('v1.37.0+k3s1', 'v1.36.3+k3s1'), 'v1.36.3+k3s1');
  assert.equal(kubeletVersion('v1.36.3+k3s2', 'v1.36.3+k3s1'), 'v1.36.3+k3s2');
  assert.equal(kubeletVersion('garbage', 'v1.36.3+k3s1'), 'v1.36.3+k3s1');
});

test('a condition keeps its transition time until its status changes', () => {
  const first = nodeConditions(healthy, [], Date.parse('2026-01-01T00:00:00Z'));
  const second = nodeConditions(healthy, first, Date.parse('2026-01-01T00:05:00Z'));
  assert.equal(second[3]?.lastTransitionTime, '2026-01-01T00:00:00Z');
  assert.equal(second[3]?.lastHeartbeatTime, '2026-01-01T00:05:00Z');
  const third = nodeConditions(
    { ...healthy, notReady: ['container runtime is down: x'] },
    second,
    Date.parse('2026-01-01T00:06:00Z'),
  );
  assert.deepEqual(third[3], {
    type: 'Ready',
    status: 'False',
    reason: 'KubeletNotReady',
    message: 'container runtime is down: x',
    lastHeartbeatTime: '2026-01-01T00:06:00Z',
    lastTransitionTime: '2026-01-01T00:06:00Z',
  });
});

test('nothing is written when only heartbeats differ, everything conditional on a heartbeat when due', () => {
  const conditions = nodeConditions(healthy, [], 0);
  const later = nodeConditions(healthy, conditions, 60_000);
  const fields = { capacity: { cpu: '2' }, nodeInfo: { kubeProxyVersion: '' } };
  const node = stored({ conditions, capacity: { cpu: '2' }, nodeInfo: {} as never, allocatable: { cpu: '1' } });
  assert.equal(statusPatch(node, { fields, conditions: later, addresses: undefined }, false), undefined);
  assert.deepEqual(statusPatch(node, { fields, conditions: later, addresses: undefined }, true), {
    status: { conditions: later },
  });
});

test('two addresses of one type are replaced together', () => {
  const addresses = [
    { type: 'InternalIP', address: '10.0.0.1' },
    { type: 'InternalIP', address: 'fd00::1' },
  ];
  const patch = statusPatch(
    stored({ addresses: addresses.slice(0, 1) }),
    { fields: {}, conditions: [], addresses },
    false,
  );
  assert.deepEqual(patch, { status: { addresses: [...addresses, { $patch: 'replace' }] } });
  assert.equal(statusPatch(stored({ addresses }), { fields: {}, conditions: [], addresses }, false), undefined);
});

test('images are listed by size, at most fifty, nameless ones left out', () => {
  const image = (i: number): CriImage => ({
    id: `${i}`,
    repoTags: i === 3 ? [] : [`i${i}`],
    repoDigests: [],
    size: i,
    username: '',
    pinned: false,
  });
  const listed = nodeImages(Array.from({ length: 70 }, (_, i) => image(i)));
  assert.equal(listed.length, 50);
  assert.equal(listed[0]?.sizeBytes, 69);
  const all = Array.from({ length: 70 }, (_, i) => image(i));
  assert.deepEqual([nodeImages(all, 2).length, nodeImages(all, -1).length], [2, 69], 'nodeStatusMaxImages');
  assert.ok(nodeImages([image(3)]).length === 0);
});

test('capacity and allocatable are written as the kubelet writes them', () => {
  const capacity = {
    cpu: 4,
    memory: 4 * 2 ** 30,
    swap: 0,
    ephemeralStorage: 100 * 1024,
    hugepages: new Map([
      [2 ** 21, 0],
      [2 ** 30, 2 ** 30],
    ]),
  };
  assert.deepEqual(nodeCapacity(capacity, 110), {
    cpu: '4',
    'ephemeral-storage': '100Ki',
    memory: '4194304Ki',
    pods: '110',
    'hugepages-2Mi': '0',
    'hugepages-1Gi': '1048576Ki',
  });
  const allocatable = nodeAllocatable(capacity, 110, { cpu: 500, memory: 2 ** 30, ephemeralStorage: 1024 });
  assert.equal(allocatable.cpu, '3500m');
  assert.equal(allocatable.memory, '2097152Ki');
  assert.equal(allocatable['ephemeral-storage'], String(99 * 1024));
});

test('only labels and annotations that differ are patched, and others are left alone', () => {
  const identity = {
    name: 'n',
    hostname: 'n',
    ips: ['10.0.0.1'],
    labels: { zone: 'shop' },
    taints: [],
    externalCloud: true,
    annotations: { 'k3s.io/internal-ip': '10.0.0.1', 'k3s.io/external-ip': null },
    kubeletVersion: 'v1.36.3',
    kubeletPort: 10250,
    maxPods: 110,
    system: { architecture: 'arm64', kernelVersion: '', osImage: '', bootID: '', machineID: '', systemUUID: '' },
    capacity: { cpu: 1, memory: 0, swap: 0, ephemeralStorage: 0, hugepages: new Map() },
    reserved: { cpu: 0, memory: 0, ephemeralStorage: 0 },
  };
  const node: Node = {
    metadata: {
      name: 'n',
      labels: {
        'beta.kubernetes.io/arch': 'arm64',
        'beta.kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'arm64',
        'kubernetes.io/hostname': 'n',
        'kubernetes.io/os': 'linux',
        theirs: 'stays',
      },
      annotations: {
        'k3s.io/internal-ip': '10.0.0.9',
        'k3s.io/external-ip': '1.2.3.4',
        'alpha.kubernetes.io/provided-node-ip': '10.0.0.1',
        'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
      },
    },
  };
  assert.deepEqual(metadataPatch(node, identity), {
    metadata: {
      labels: { zone: 'shop' },
      annotations: { 'k3s.io/internal-ip': '10.0.0.1', 'k3s.io/external-ip': null },
    },
  });
});
