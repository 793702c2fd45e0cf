import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/index.ts';
import type { LabAgent } from './support/agent.ts';
import { type Cluster, clusterUnavailable, createCluster, watched } from './support/cluster.ts';
import { isReady, type List, type NodeView, PODS, type PodView, podOf } from './support/objects.ts';

const COUNT = 20;

describe('crashes in the middle of work', { skip: clusterUnavailable() ?? false }, () => {
  let cluster: Cluster;
  let agent: LabAgent;
  const logged = (body: () => Promise<void>) => watched(() => cluster, body);
  before(async () => {
    cluster = await createCluster(1);
    ({ agent } = await cluster.agent('n1'));
    agent.start();
    await cluster.api.until<NodeView>('node n1 is ready', '/api/v1/nodes/n1', isReady);
  });
  after(() => cluster?.remove());

  const list = (group: string) => `${PODS}?labelSelector=group%3D${group}`;

  async function createMany(group: string): Promise<void> {
    await Promise.all(
      Array.from({ length: COUNT }, (_, i) => {
        const pod = podOf(`${group}-${i}`);
        return cluster.api.create(PODS, { ...pod, metadata: { ...pod.metadata, labels: { group } } });
      }),
    );
  }

  const started = (group: string, n: number) =>
    cluster.api.until<List<PodView>>(
      `${n} pods run`,
      list(group),
      ({ items }) => items.filter(isReady).length >= n,
      120_000,
    );

  const containers = async () =>
    (await cluster.host('n1').run(['sh', '-c', 'ps -eo args | grep -c "^[s]h -c trap" || true'])).trim();

  async function deleteAll(group: string): Promise<void> {
    await cluster.api.delete(list(group));
    await cluster.api.until<List<PodView>>('all are gone', list(group), ({ items }) => items.length === 0);
  }

  test(
    'the agent is killed while 20 pods start: all get ready, none runs twice',
    logged(async () => {
      await createMany('agent');
      await started('agent', 5);
      await agent.kill();
      agent.start();
      const { items } = await started('agent', COUNT);
      assert.deepEqual(
        items.map((pod) => pod.status.containerStatuses?.[0]?.restartCount),
        Array(COUNT).fill(0),
      );
      await eventually('one process a pod', async () => (await containers()) === String(COUNT));
    }),
  );

  test(
    'the agent is started again over running pods: none restarts',
    logged(async () => {
      const before = (await cluster.api.get<List<PodView>>(list('agent'))).items;
      const ids = (pods: PodView[]) => pods.map((pod) => pod.status.containerStatuses?.[0]?.containerID).sort();
      await agent.stop();
      agent.start();
      await eventually(
        'the agent is up again',
        () => /the node is ready|adopted/.test(agent.log().split('k3s-agent starts').at(-1) ?? ''),
        60_000,
      );
      await started('agent', COUNT);
      const now = (await cluster.api.get<List<PodView>>(list('agent'))).items;
      assert.deepEqual(ids(now), ids(before));
      await deleteAll('agent');
      await eventually('no process is left', async () => (await containers()) === '0');
    }),
  );

  test(
    'containerd is killed while 20 pods start: all get ready, none runs twice',
    logged(async () => {
      await createMany('runtime');
      await started('runtime', 5);
      const host = cluster.host('n1');
      await host.run(['sh', '-c', 'kill -9 $(ps -eo pid,comm | awk \'$2=="containerd" {print $1}\')']);
      await started('runtime', COUNT);
      await eventually('one process a pod', async () => (await containers()) === String(COUNT));
      await deleteAll('runtime');
      await eventually('no process is left', async () => (await containers()) === '0');
    }),
  );

  test(
    'a power cut: after it the same pods come back',
    logged(async () => {
      await createMany('power');
      await started('power', COUNT);
      const uids = (pods: PodView[]) => pods.map((pod) => pod.metadata.uid).sort();
      const before = uids((await cluster.api.get<List<PodView>>(list('power'))).items);
      const host = cluster.host('n1');
      await host.powerCut();
      await host.boot();
      agent.start();
      const pods = await cluster.api.until<List<PodView>>(
        'all pods run again',
        list('power'),
        ({ items }) => items.every((pod) => isReady(pod) && (pod.status.containerStatuses?.[0]?.restartCount ?? 0) > 0),
        120_000,
      );
      assert.deepEqual(uids(pods.items), before);
      await eventually('one process a pod', async () => (await containers()) === String(COUNT));
      await deleteAll('power');
    }),
  );
});
