import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Cluster, clusterUnavailable, createCluster, watched } from './support/cluster.ts';
import {
  DEPLOYMENTS,
  deploymentOf,
  isReady,
  type List,
  type NodeView,
  PODS,
  type PodView,
  WAITING,
} from './support/objects.ts';

interface DeploymentView {
  metadata: { generation: number };
  spec: { replicas: number };
  status: { observedGeneration?: number; updatedReplicas?: number; availableReplicas?: number; replicas?: number };
}

const REPLICAS = 20;
const LIST = `${PODS}?labelSelector=app%3Dmany`;

describe('a deployment of many pods', { skip: clusterUnavailable() ?? false }, () => {
  let cluster: Cluster;
  const logged = (body: () => Promise<void>) => watched(() => cluster, body);
  before(async () => {
    cluster = await createCluster(1);
    const { agent } = await cluster.agent('n1');
    agent.start();
    await cluster.api.until<NodeView>('node n1 is ready', '/api/v1/nodes/n1', isReady);
  });
  after(() => cluster?.remove());

  const complete = (replicas: number) =>
    cluster.api.until<DeploymentView>(
      `${replicas} replicas are up to date and available`,
      `${DEPLOYMENTS}/many`,
      ({ metadata, status }) =>
        status.observedGeneration === metadata.generation &&
        (status.updatedReplicas ?? 0) === replicas &&
        (status.availableReplicas ?? 0) === replicas &&
        (status.replicas ?? 0) === replicas,
      120_000,
    );

  test(
    'rolls out, each pod with an address of its own',
    logged(async () => {
      await cluster.api.create(DEPLOYMENTS, deploymentOf('many', REPLICAS));
      await complete(REPLICAS);
      const { items } = await cluster.api.get<List<PodView>>(LIST);
      assert.equal(new Set(items.map((pod) => pod.status.podIP)).size, REPLICAS);
      assert.ok(items.every((pod) => pod.status.containerStatuses?.every((c) => c.restartCount === 0)));
    }),
  );

  test(
    'rolls on to a new template',
    logged(async () => {
      const before = (await cluster.api.get<List<PodView>>(LIST)).items.map((pod) => pod.metadata.uid);
      const { spec } = deploymentOf('many', REPLICAS, [...WAITING.slice(0, 2), `echo again; ${WAITING[2]}`]);
      await cluster.api.patch(`${DEPLOYMENTS}/many`, { spec: { template: spec.template } });
      await complete(REPLICAS);
      const live = (await cluster.api.get<List<PodView>>(LIST)).items.filter((pod) => !pod.metadata.deletionTimestamp);
      assert.ok(live.every((pod) => !before.includes(pod.metadata.uid)));
    }),
  );

  test(
    'is scaled down and up',
    logged(async () => {
      await cluster.kubectl('scale', 'deployment', 'many', '--replicas=5');
      await cluster.api.until<List<PodView>>('15 pods are gone', LIST, ({ items }) => items.length === 5);
      await cluster.kubectl('scale', 'deployment', 'many', '--replicas=10');
      await complete(10);
    }),
  );

  test(
    'is deleted with all its pods, and the board keeps nothing of them',
    logged(async () => {
      await cluster.api.delete(`${DEPLOYMENTS}/many`);
      await cluster.api.until<List<PodView>>('all pods are gone', LIST, ({ items }) => items.length === 0);
      const host = cluster.host('n1');
      const left = async () =>
        (
          await host.run([
            'sh',
            '-c',
            'ls /var/lib/kubelet/pods; ls /run/netns; ls /var/lib/cni/networks/* | grep 10.42 || true',
          ])
        ).trim();
      const { eventually } = await import('../lab/index.ts');
      await eventually('no folder, network or address is left', async () => (await left()) === '');
    }),
  );
});
