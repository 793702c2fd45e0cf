import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorizeDial, type EgressFacts, podReach } from '../../../src/tunnel/index.ts';

const facts: EgressFacts = {
  mode: 'agent',
  kubeletPort: 10250,
  nodeIps: ['192.0.2.5', 'fd00::5'],
  clusterCidrs: ['10.42.0.0/16'],
  pods: [
    { hostNetwork: false, ips: ['10.42.1.7'], tcpPorts: [] },
    { hostNetwork: true, ips: ['192.0.2.5'], tcpPorts: [9100] },
  ],
};
const allowed = (mode: EgressFacts['mode'], address: string, proto = 'tcp') =>
  authorizeDial({ ...facts, mode }, proto, address).allowed;

test('the kubelet and the stream server on the loopback address are open in every mode', () => {
  for (const mode of ['agent', 'disabled', 'cluster', 'pod'] as const) {
    assert.ok(allowed(mode, '127.0.0.1:10250'));
    assert.ok(allowed(mode, '[::1]:10250'));
    assert.ok(allowed(mode, '127.0.0.1:10010'));
    for (const address of [
      '127.0.0.1:22',
      '127.0.0.2:10250',
      'localhost:10250',
      '198.51.100.1:10250',
      '127.0.0.1',
      ':1',
    ])
      assert.ok(!allowed(mode, address), `${mode} ${address}`);
    assert.ok(!allowed(mode, '127.0.0.1:10250', 'udp'));
  }
});

test('mode agent and disabled open nothing else', () => {
  for (const mode of ['agent', 'disabled'] as const) {
    assert.ok(!allowed(mode, '10.42.1.7:80'));
    assert.ok(!allowed(mode, '192.0.2.5:9100'));
  }
});

test('mode cluster opens the node’s addresses and the pod network', () => {
  assert.ok(allowed('cluster', '192.0.2.5:1'));
  assert.ok(allowed('cluster', '[fd00:0::5]:1'));
  assert.ok(allowed('cluster', '10.42.200.1:80'));
  assert.ok(!allowed('cluster', '10.43.0.1:80'));
});

test('mode pod opens pods of this node, and only declared ports of those in the host network', () => {
  assert.ok(allowed('pod', '10.42.1.7:80'));
  assert.ok(!allowed('pod', '10.42.1.8:80'));
  assert.ok(allowed('pod', '192.0.2.5:9100'));
  assert.ok(!allowed('pod', '192.0.2.5:22'));
});

test('a pod that is being deleted is not reached any more', () => {
  const pod = {
    metadata: { name: 'a' },
    spec: {
      hostNetwork: true,
      containers: [{ name: 'c', ports: [{ containerPort: 80 }, { containerPort: 53, protocol: 'UDP' }] }],
    },
    status: { podIPs: [{ ip: '192.0.2.5' }] },
  };
  assert.deepEqual(podReach(pod), { hostNetwork: true, ips: ['192.0.2.5'], tcpPorts: [80] });
  assert.equal(podReach({ ...pod, metadata: { name: 'a', deletionTimestamp: '2026-01-01T00:00:00Z' } }), undefined);
});

test('a mode this agent does not know opens nothing more', () => {
  const newer = 'proxy' as EgressFacts['mode'];
  assert.ok(allowed(newer, '127.0.0.1:10250'));
  for (const address of ['192.0.2.5:22', '10.42.1.7:80', '203.0.113.1:443']) assert.ok(!allowed(newer, address));
});
