import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../lab/index.ts';
import type { LabAgent } from './support/agent.ts';
import { type Cluster, clusterUnavailable, createCluster, watched } from './support/cluster.ts';
import { isReady, type NodeView, PODS, type PodView, podOf } from './support/objects.ts';

/** How long the server stays away; E2E_OUTAGE_SECONDS=300 is the whole five minutes. */
const OUTAGE_MS = Number(process.env.E2E_OUTAGE_SECONDS ?? 30) * 1000;

describe('times without a server or a network', { skip: clusterUnavailable() ?? false }, () => {
  let cluster: Cluster;
  const agents: LabAgent[] = [];
  const logged = (body: () => Promise<void>) => watched(() => cluster, body);
  before(async () => {
    cluster = await createCluster(2);
    for (const name of ['n1', 'n2']) {
      const { agent } = await cluster.agent(name);
      agent.start();
      agents.push(agent);
    }
    for (const name of ['n1', 'n2']) {
      await cluster.api.until<NodeView>(`node ${name} is ready`, `/api/v1/nodes/${name}`, isReady);
      await cluster.api.create(
        PODS,
        podOf(`on-${name}`, { node: name, spec: { tolerations: [{ operator: 'Exists' }] } }),
      );
    }
    for (const name of ['n1', 'n2'])
      await cluster.api.until<PodView>('the pod is ready', `${PODS}/on-${name}`, isReady);
  });
  after(() => cluster?.remove());

  const pod = (name: string) => cluster.api.get<PodView>(`${PODS}/${name}`);
  const execWorks = (name: string) => async () =>
    (await cluster.kubectl('exec', name, '--', 'hostname')) === `${name}\n`;
  const reaches = (from: string, address: string | undefined) => async () =>
    (await cluster.kubectl('exec', from, '--', 'ping', '-c', '1', '-W', '1', String(address))).includes(
      ' 0% packet loss',
    );

  test(
    'pods on two boards reach each other both ways',
    logged(async () => {
      const [one, two] = [await pod('on-n1'), await pod('on-n2')];
      await eventually('n1 reaches n2', reaches('on-n1', two.status.podIP), 15_000);
      await eventually('n2 reaches n1', reaches('on-n2', one.status.podIP), 15_000);
    }),
  );

  test(
    'the server is stopped and comes back: nothing restarts, the nodes are ready within 10 s of it',
    logged(async () => {
      const before = await pod('on-n1');
      await cluster.server.stop();
      await sleep(OUTAGE_MS);
      assert.ok(
        agents.every((agent) => agent.running()),
        'the agents stay up without a server',
      );
      await cluster.server.start();
      await eventually(
        'the server answers',
        async () => (await cluster.api.request('GET', '/version')).status === 200,
        60_000,
      );
      for (const name of ['n1', 'n2'])
        await cluster.api.until<NodeView>(`node ${name} is ready again`, `/api/v1/nodes/${name}`, isReady, 10_000);
      await eventually('exec works again', execWorks('on-n1'), 15_000);
      const now = await pod('on-n1');
      assert.equal(now.metadata.uid, before.metadata.uid);
      assert.equal(now.status.containerStatuses?.[0]?.containerID, before.status.containerStatuses?.[0]?.containerID);
      assert.equal(now.status.containerStatuses?.[0]?.restartCount, 0);
    }),
  );

  test(
    'a pod deleted while its board can not hear of it is gone once it can',
    logged(async () => {
      await cluster.api.create(PODS, podOf('deleted-unheard', { node: 'n1' }));
      await cluster.api.until<PodView>('the pod is ready', `${PODS}/deleted-unheard`, isReady);
      await cluster.lab.network.cut('n1');
      await cluster.api.delete(`${PODS}/deleted-unheard`);
      await sleep(2_000);
      assert.equal((await cluster.api.request('GET', `${PODS}/deleted-unheard`)).status, 200);
      await cluster.lab.network.mend('n1');
      await cluster.api.gone(`${PODS}/deleted-unheard`, 60_000);
    }),
  );

  test(
    'a pod taken off by force while the board was away is ended there, its namesake runs',
    logged(async () => {
      const mine = async () =>
        await cluster.host('n1').run(['sh', '-c', 'ps -eo args | grep "^[s]leep 77[78]" || true']);
      const named = (seconds: number) => podOf('forced', { node: 'n1', command: ['sleep', String(seconds)] });
      await cluster.api.create(PODS, named(777));
      await cluster.api.until<PodView>('the pod is ready', `${PODS}/forced`, isReady);
      await cluster.lab.network.cut('n1');
      await cluster.api.delete(`${PODS}/forced?gracePeriodSeconds=0`);
      await cluster.api.gone(`${PODS}/forced`, 1_000);
      await cluster.api.create(PODS, named(778));
      await cluster.lab.network.mend('n1');
      await cluster.api.until<PodView>('the namesake is ready', `${PODS}/forced`, isReady, 60_000);
      await eventually('the old one is gone', async () => (await mine()).trim() === 'sleep 778', 60_000);
      await cluster.api.delete(`${PODS}/forced?gracePeriodSeconds=0`);
      await eventually('and so is the new one', async () => (await mine()).trim() === '', 60_000);
    }),
  );

  test(
    'the cable is pulled for a minute: exec and the way between pods come back within 15 s',
    logged(async () => {
      const two = await pod('on-n2');
      await cluster.lab.network.cut('n1');
      await sleep(60_000);
      await cluster.lab.network.mend('n1');
      await eventually('exec works again', execWorks('on-n1'), 15_000);
      await eventually('the way to the other pod works again', reaches('on-n1', two.status.podIP), 15_000);
      assert.equal((await pod('on-n1')).status.containerStatuses?.[0]?.restartCount, 0);
    }),
  );

  test(
    'the address of a board changes: exec and the way between pods come back within 15 s',
    logged(async () => {
      const [one, two] = [await pod('on-n1'), await pod('on-n2')];
      await cluster.lab.network.setAddress('n1', '10.99.0.77');
      await eventually('exec works again', execWorks('on-n1'), 15_000);
      await eventually('the way there works again', reaches('on-n1', two.status.podIP), 15_000);
      await eventually('the way back works again', reaches('on-n2', one.status.podIP), 15_000);
      await cluster.api.until<NodeView>('the node shows its new address', '/api/v1/nodes/n1', ({ status }) =>
        (status.addresses ?? []).some((a) => a.type === 'InternalIP' && a.address === '10.99.0.77'),
      );
    }),
  );
});
