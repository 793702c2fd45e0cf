import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { refuseResize } from '../../../../src/kubelet/admission/index.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const sized = (memory: string, resizePolicy: object[] = []): Pod =>
  makePod('r', {
    containers: [
      { name: 'main', image: 'busybox:1', resources: { requests: { memory }, limits: { memory } }, resizePolicy },
    ],
  } as Partial<Pod['spec']>);

async function running(pod: Pod): Promise<{ node: FakeNode; updates: unknown[]; ask(memory: string): Promise<void> }> {
  const node = new FakeNode();
  const updates: unknown[] = [];
  Object.assign(node.runtime, {
    updateContainerResources: async (_: string, resources: unknown) => void updates.push(resources),
    listContainerStats: async () => [{ memory: { usageBytes: 50 * 2 ** 20 } }],
  });
  await node.start();
  node.api.put(pod);
  await settle();
  const ask = async (memory: string) => {
    const next = structuredClone(node.api.get('r') as Pod);
    const [main] = next.spec.containers;
    Object.assign(main as object, { resources: { requests: { memory }, limits: { memory } } });
    Object.assign(next.metadata, { generation: (next.metadata.generation ?? 0) + 1 });
    node.api.put(next);
    await node.clock.advance(1_500);
  };
  return { node, updates, ask };
}
const main = (node: FakeNode) => node.api.get('r')?.status?.containerStatuses?.[0];
const condition = (node: FakeNode, type: string) => node.api.get('r')?.status?.conditions?.find((c) => c.type === type);

describe('a pod resized in place', () => {
  it('gets it without a restart, shows it, and says when it began and was done', async () => {
    const { node, updates, ask } = await running(sized('100Mi'));
    await ask('200Mi');
    assert.deepEqual(updates, [{ memoryLimitInBytes: 200 * 2 ** 20 }]);
    assert.equal(main(node)?.resources?.limits?.memory, '200Mi');
    assert.equal(main(node)?.allocatedResources?.memory, '200Mi');
    assert.equal(main(node)?.restartCount, 0);
    assert.equal(condition(node, 'PodResizeInProgress'), undefined);
    assert.deepEqual(node.recorder.reasons('r').slice(-2), ['ResizeStarted', 'ResizeCompleted']);
    await node.restart();
    await node.clock.advance(5_000);
    assert.equal(updates.length, 1, 'another agent has nothing to do');
  });

  it('is restarted where its policy says so', async () => {
    const { node, updates, ask } = await running(
      sized('100Mi', [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }]),
    );
    await ask('200Mi');
    assert.deepEqual(updates, []);
    assert.equal(main(node)?.restartCount, 1);
    assert.equal(main(node)?.resources?.limits?.memory, '200Mi');
    assert.ok(node.recorder.events.some((e) => e.message === 'Container main resize requires restart'));
    assert.ok(node.recorder.reasons('r').includes('ResizeCompleted'));
  });

  it('waits while others have it, and keeps what it has', async () => {
    const { node, updates, ask } = await running(sized('100Mi'));
    node.materials.refusal = { reason: 'Deferred', message: 'not now' };
    const shown: unknown[] = [];
    node.materials.volumes = (pod) => {
      if (pod.metadata.name === 'r') shown.push(pod.spec.containers[0]?.resources?.limits?.memory);
      return undefined;
    };
    await ask('200Mi');
    assert.deepEqual(shown, [], 'its volumes show what it has, which is the same');
    assert.deepEqual(updates, []);
    assert.equal(main(node)?.resources?.limits?.memory, '100Mi');
    const pending = condition(node, 'PodResizePending');
    assert.deepEqual([pending?.status, pending?.reason, pending?.message], ['True', 'Deferred', 'not now']);
    assert.equal(node.recorder.reasons('r').at(-1), 'ResizeDeferred');
    await node.restart();
    await node.clock.advance(2_000);
    assert.deepEqual([updates.length, main(node)?.resources?.limits?.memory], [0, '100Mi']);
    node.materials.refusal = undefined;
    node.api.put(makePod('other', { restartPolicy: 'Never' }));
    await settle();
    node.api.markDeleted('other', 0);
    await node.clock.advance(5_000);
    assert.equal(updates.length, 1);
    assert.equal(shown.at(-1), '200Mi');
    assert.equal(main(node)?.resources?.limits?.memory, '200Mi');
    assert.equal(condition(node, 'PodResizePending'), undefined);
  });

  it('comes to rest when it ends before it could have it', async () => {
    const { node, ask } = await running(sized('100Mi'));
    node.materials.refusal = { reason: 'Deferred', message: 'not now' };
    await ask('200Mi');
    let changes = 0;
    node.manager.onPodsChanged(() => {
      if (++changes === 50) void node.manager.stop();
    });
    const uid = node.api.get('r')?.metadata.uid as string;
    void node.manager.evict(uid, { reason: 'Evicted', message: 'no room' }, node.abort.signal);
    await node.clock.advance(2_000);
    assert.ok(changes < 50, 'it never comes to rest');
    assert.equal(node.api.get('r')?.status?.phase, 'Failed');
    assert.equal(condition(node, 'PodResizePending'), undefined);
  });

  it('is not made smaller than what it uses', async () => {
    const { node, updates, ask } = await running(sized('100Mi'));
    await ask('40Mi');
    assert.deepEqual(updates, []);
    const progress = condition(node, 'PodResizeInProgress');
    assert.deepEqual(
      [progress?.reason, progress?.message],
      [
        'Error',
        'cannot decrease memory limits: attempting to set container "main" memory limit (41943040) below current usage (52428800)',
      ],
    );
    assert.equal(main(node)?.resources?.limits?.memory, '100Mi');
    await ask('60Mi');
    await node.clock.advance(5_000);
    assert.deepEqual(updates, [{ memoryLimitInBytes: 60 * 2 ** 20 }]);
    assert.equal(condition(node, 'PodResizeInProgress'), undefined);
  });
});

describe('whether a resize can be had', () => {
  const node = { cpu: '2', memory: '1Gi', pods: '10' };
  it('is told from what the node has at all and what others leave', () => {
    assert.equal(refuseResize(sized('500Mi'), [], node), undefined);
    assert.deepEqual(refuseResize(sized('2Gi'), [], node), {
      reason: 'Infeasible',
      message: "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
    });
    assert.equal(refuseResize(sized('600Mi'), [sized('600Mi')], node)?.reason, 'Deferred');
    const fixed = sized('500Mi');
    fixed.metadata.annotations = { 'kubernetes.io/config.source': 'file' };
    assert.equal(refuseResize(fixed, [], node)?.reason, 'Infeasible');
  });
});
