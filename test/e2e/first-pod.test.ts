import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/index.ts';
import type { LabAgent } from './support/agent.ts';
import { type Cluster, clusterUnavailable, createCluster, watched } from './support/cluster.ts';
import { isReady, type NodeView, PODS, type PodView, podOf } from './support/objects.ts';

const skip = clusterUnavailable();

describe('a board joins and runs a pod', { skip: skip ?? false }, () => {
  let cluster: Cluster;
  let agent: LabAgent;
  const logged = (body: () => Promise<void>) => watched(() => cluster, body);
  before(async () => {
    cluster = await createCluster(1);
  });
  after(() => cluster?.remove());

  test(
    'the node turns ready, with what the server side gives it',
    logged(async () => {
      ({ agent } = await cluster.agent('n1'));
      agent.start();
      const node = await cluster.api.until<NodeView>(
        'node n1 is ready and initialized',
        '/api/v1/nodes/n1',
        (n) => isReady(n) && !n.spec.taints?.length,
        60_000,
      );
      assert.match(node.spec.podCIDR ?? '', /^10\.42\.\d+\.0\/24$/);
      assert.equal(node.spec.providerID, 'k3s://n1');
      assert.deepEqual(
        node.status.addresses?.filter((a) => a.type === 'InternalIP').map((a) => a.address),
        ['10.99.0.2'],
      );
      assert.equal(node.metadata.annotations['flannel.alpha.coreos.com/backend-type'], 'vxlan');
      assert.equal(node.metadata.labels['kubernetes.io/hostname'], 'n1');
    }),
  );

  test(
    'a pod runs, and its log, a command in it and its description are there',
    logged(async () => {
      await cluster.api.create(PODS, podOf('first'));
      const pod = await cluster.api.until<PodView>('the pod is ready', `${PODS}/first`, isReady);
      assert.equal(pod.status.phase, 'Running');
      assert.match(pod.status.podIP ?? '', /^10\.42\./);
      assert.equal(await cluster.kubectl('logs', 'first'), 'hello\n');
      assert.equal(await cluster.kubectl('exec', 'first', '--', 'hostname'), 'first\n');
      await assert.rejects(cluster.kubectl('exec', 'first', '--', 'sh', '-c', 'exit 3'), /exit code 3/);
      assert.match(await cluster.kubectl('get', 'pod', 'first'), /first\s+1\/1\s+Running\s+0/);
      const described = await cluster.kubectl('describe', 'pod', 'first');
      for (const words of ['Scheduled', 'Pulled', 'Created', 'Started', 'Successfully assigned default/first to n1'])
        assert.ok(described.includes(words), `describe shows ${words}:\n${described}`);
    }),
  );

  test(
    'a deleted pod leaves, and nothing of it stays on the board',
    logged(async () => {
      const { metadata } = await cluster.api.get<PodView>(`${PODS}/first`);
      await cluster.api.delete(`${PODS}/first`);
      await cluster.api.gone(`${PODS}/first`, 20_000);
      await eventually('its folders, mounts and logs are gone', async () => {
        const script = 'ls /var/lib/kubelet/pods /var/log/pods; cat /proc/mounts';
        return !(await cluster.host('n1').run(['sh', '-c', script])).includes(metadata.uid);
      });
    }),
  );

  test(
    'a pod gets the local volume its claim is bound to, and what it wrote stays',
    logged(async () => {
      await cluster.api.until('the node has its CSINode', '/apis/storage.k8s.io/v1/csinodes/n1', () => true, 20_000);
      const host = cluster.host('n1');
      const disk = '/var/lib/rancher/disk';
      mkdirSync(join(host.disk, disk), { recursive: true });
      const claims = '/api/v1/namespaces/default/persistentvolumeclaims';
      const mode = { accessModes: ['ReadWriteOnce'], storageClassName: 'local' };
      const claim = await cluster.api.create<{ metadata: { uid: string } }>(claims, {
        metadata: { name: 'data' },
        spec: { ...mode, volumeName: 'disk', resources: { requests: { storage: '1Gi' } } },
      });
      const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: ['n1'] };
      await cluster.api.create('/api/v1/persistentvolumes', {
        metadata: { name: 'disk' },
        spec: {
          ...mode,
          capacity: { storage: '1Gi' },
          local: { path: disk },
          nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } },
          claimRef: { namespace: 'default', name: 'data', uid: claim.metadata.uid },
        },
      });
      // What the controller of a real server does by itself.
      await cluster.api.patch(`${claims}/data/status`, { status: { phase: 'Bound', capacity: { storage: '1Gi' } } });
      const { spec, metadata } = podOf('keeper', {
        command: ['sh', '-c', 'echo kept > /data/file; sleep 1000'],
        node: 'n1',
      });
      const [container] = spec.containers;
      await cluster.api.create(PODS, {
        metadata,
        spec: {
          ...spec,
          terminationGracePeriodSeconds: 1,
          containers: [{ ...container, volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
        },
      });
      await cluster.api.until<PodView>('the pod is ready', `${PODS}/keeper`, isReady);
      await cluster.api.delete(`${PODS}/keeper`);
      await cluster.api.gone(`${PODS}/keeper`, 20_000);
      assert.equal(readFileSync(join(host.disk, disk, 'file'), 'utf8'), 'kept\n');
      assert.equal((await host.run(['cat', '/proc/mounts'])).includes('kubernetes.io~local-volume'), false);
    }),
  );

  test(
    'a manifest on the board becomes a pod that the server shows; it outlives the agent and follows its file',
    logged(async () => {
      const host = cluster.host('n1');
      const folder = join(host.disk, 'var/lib/rancher/k3s/agent/pod-manifests');
      const mirror = `${PODS}/static-n1`;
      const write = (word: string) => {
        const command = ['sh', '-c', `trap "exit 0" TERM; echo ${word}; while :; do sleep 1000 & wait $!; done`];
        const pod = { apiVersion: 'v1', kind: 'Pod', ...podOf('static', { command }) };
        writeFileSync(join(folder, '.next'), JSON.stringify(pod));
        renameSync(join(folder, '.next'), join(folder, 'static.json'));
      };
      write('first');
      const pod = await cluster.api.until<PodView>('the mirror is ready', mirror, isReady);
      assert.equal(await cluster.kubectl('logs', 'static-n1'), 'first\n');
      assert.equal(await cluster.kubectl('exec', 'static-n1', '--', 'hostname'), 'static-n1\n');
      await agent.kill();
      await cluster.api.delete(mirror);
      agent.start();
      const again = await cluster.api.until<PodView>(
        'the mirror is made anew',
        mirror,
        (now) => now.metadata.uid !== pod.metadata.uid && isReady(now),
        60_000,
      );
      const idOf = ({ status }: PodView) => status.containerStatuses?.[0]?.containerID;
      assert.equal(idOf(again), idOf(pod), 'the container went on');
      write('second');
      await cluster.api.until<PodView>('another pod runs', mirror, (now) => isReady(now) && idOf(now) !== idOf(pod));
      assert.equal(await cluster.kubectl('logs', 'static-n1'), 'second\n');
      rmSync(join(folder, 'static.json'));
      await cluster.api.gone(mirror, 20_000);
    }),
  );
});
