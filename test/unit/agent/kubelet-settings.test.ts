import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IdentityInput, nodeIdentity } from '../../../src/agent/node-identity.ts';
import { agentPaths } from '../../../src/agent/paths.ts';
import { loadKubeletSettings, mergeComponentArgs } from '../../../src/config/index.ts';
import { silentLogger } from '../../../src/core/index.ts';
import type { KubeClient } from '../../../src/kube/index.ts';
import { LeaseKeeper } from '../../../src/kubelet/index.ts';
import { FakeClock, settle } from '../../fakes/clock.ts';

const noFiles = { read: async () => undefined, walk: async () => undefined };

async function identity(args: readonly string[]) {
  const { settings } = await loadKubeletSettings({ args: mergeComponentArgs({}, args), dataDir: '/d', files: noFiles });
  return nodeIdentity({
    settings,
    config: { nodeLabels: [], nodeTaints: ['a=b:NoSchedule'], nodeInternalDns: [], nodeExternalDns: [] },
    meta: { nodeArgs: '[]', nodeEnv: '{}', nodeConfigHash: 'x' },
    joined: { nodeName: 'n', nodeIps: ['10.0.0.2'], nodeExternalIps: [], config: { egressSelectorMode: 'agent' } },
    board: {},
    system: {},
    capacity: { cpu: 4, memory: 2 ** 30, ephemeralStorage: 2 ** 34 },
    kubeletVersion: 'v1.36.0',
  } as unknown as IdentityInput);
}

test('pods per core bound the number of pods, taints of the kubelet replace those of the agent', async () => {
  assert.equal((await identity([])).maxPods, 110);
  assert.equal((await identity(['pods-per-core=10'])).maxPods, 40);
  assert.equal((await identity(['pods-per-core=10', 'max-pods=30'])).maxPods, 30);
  assert.deepEqual((await identity([])).taints, [{ key: 'a', value: 'b', effect: 'NoSchedule' }]);
  assert.deepEqual((await identity(['register-with-taints=c=:NoExecute'])).taints, [
    { key: 'c', value: '', effect: 'NoExecute' },
  ]);
});

test('the root folder of the kubelet may be another', () => {
  assert.equal(agentPaths('/d').kubeletDir, '/var/lib/kubelet');
  assert.equal(agentPaths('/d', '/data/kubelet').kubeletDir, '/data/kubelet');
});

test('a lease of another length is renewed at a quarter of it', async () => {
  const clock = new FakeClock();
  let renewals = 0;
  const client = { patch: async () => void renewals++, onReachable: () => () => {} } as unknown as KubeClient;
  const lease = new LeaseKeeper({
    client,
    nodeName: 'n',
    nodeUid: () => 'u',
    durationSeconds: 120,
    clock,
    log: silentLogger,
  });
  await lease.start(new AbortController().signal);
  await settle();
  await clock.advance(29_000);
  assert.equal(renewals, 1);
  await clock.advance(2_000);
  assert.equal(renewals, 2);
  await lease.stop();
});
