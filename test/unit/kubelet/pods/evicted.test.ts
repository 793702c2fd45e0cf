import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const signal = new AbortController().signal;
const MESSAGE = 'The node was low on resource: memory. ';

describe('an evicted pod', () => {
  it('ends with the grace it is given, is failed once nothing of it runs, and stays so', async () => {
    const board = new FakeNode();
    board.runtime.onTerm = () => 'ignore';
    await board.start();
    board.api.put(makePod('a', { terminationGracePeriodSeconds: 300 }));
    await settle();
    const uid = board.api.get('a')?.metadata.uid as string;
    assert.deepEqual(
      board.manager.active().map((p) => p.metadata.name),
      ['a'],
    );
    let gone = false;
    void board.manager
      .evict(uid, { reason: 'Evicted', message: MESSAGE, graceSeconds: 1, disruption: MESSAGE }, signal)
      .then(() => {
        gone = true;
      });
    await board.clock.advance(500);
    assert.equal(board.api.get('a')?.status?.phase, 'Running');
    assert.equal(board.api.get('a')?.status?.reason, undefined);
    assert.deepEqual(board.manager.active(), [], 'it is not chosen again');
    await board.clock.advance(3_000);
    const status = board.api.get('a')?.status;
    assert.deepEqual([status?.phase, status?.reason, status?.message], ['Failed', 'Evicted', MESSAGE]);
    const condition = (type: string) => status?.conditions?.find((c) => c.type === type);
    assert.deepEqual(
      [condition('DisruptionTarget')?.reason, condition('DisruptionTarget')?.message],
      ['TerminationByKubelet', MESSAGE],
    );
    assert.equal(condition('Ready')?.status, 'False');
    assert.equal(status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 137);
    assert.equal(gone, true);
    assert.deepEqual(board.runtime.running(), []);
    assert.deepEqual(board.materials.released, [uid]);
    assert.ok(
      board.recorder.events.some((e) => e.type === 'Warning' && e.reason === 'Evicted' && e.message === MESSAGE),
    );
    await board.restart();
    await board.clock.advance(10_000);
    const again = board.api.get('a')?.status;
    assert.deepEqual([again?.phase, again?.reason, again?.message], ['Failed', 'Evicted', MESSAGE]);
    assert.equal(again?.conditions?.find((c) => c.type === 'DisruptionTarget')?.status, 'True');
    assert.deepEqual(board.runtime.running(), []);
  });

  it('whose containers end well has succeeded, without a reason, and still says who ended it', async () => {
    const board = new FakeNode();
    board.runtime.onTerm = () => 0;
    await board.start();
    board.api.put(makePod('a'));
    await settle();
    const uid = board.api.get('a')?.metadata.uid as string;
    void board.manager.evict(uid, { reason: 'Preempting', message: MESSAGE, disruption: 'For others.' }, signal);
    await board.clock.advance(5_000);
    const status = board.api.get('a')?.status;
    assert.deepEqual([status?.phase, status?.reason, status?.message], ['Succeeded', undefined, undefined]);
    const condition = (type: string) => status?.conditions?.find((c) => c.type === type);
    assert.deepEqual(
      [condition('DisruptionTarget')?.message, condition('Ready')?.reason],
      ['For others.', 'PodCompleted'],
    );
    await board.restart();
    await board.clock.advance(5_000);
    assert.equal(board.api.get('a')?.status?.phase, 'Succeeded');
    assert.deepEqual(board.runtime.running(), []);
  });

  it('that is being deleted has its grace cut short', async () => {
    const board = new FakeNode();
    board.runtime.onTerm = () => 'ignore';
    await board.start();
    board.api.put(makePod('a'));
    await settle();
    const uid = board.api.get('a')?.metadata.uid as string;
    board.api.markDeleted('a', 600);
    await settle();
    void board.manager.evict(uid, { reason: 'Evicted', message: MESSAGE, graceSeconds: 1 }, signal);
    await board.clock.advance(5_000);
    assert.equal(board.api.get('a'), undefined);
  });

  it('that nobody knows is no fault', async () => {
    const board = new FakeNode();
    await board.start();
    await board.manager.evict('nobody', { reason: 'Evicted', message: MESSAGE }, signal);
    assert.deepEqual(board.recorder.events, []);
  });
});

describe('a critical pod', () => {
  it('begins once those that make place for it are gone, and nobody gets that place meanwhile', async () => {
    const board = new FakeNode();
    board.runtime.onTerm = () => 'ignore';
    await board.start();
    board.api.put(makePod('small', { terminationGracePeriodSeconds: 20 }));
    await settle();
    const asked: string[][] = [];
    const note = (pods: readonly Pod[]) => asked.push(pods.map((p) => p.metadata.name as string));
    board.materials.admitted = (pod, active) => {
      note(active);
      if (pod.metadata.name !== 'critical') return { admitted: true };
      const shortages = [{ resource: 'pods', requested: 1, used: 1, capacity: 1 }];
      return { admitted: false, reason: 'OutOfpods', message: 'no room', shortages };
    };
    board.api.put(makePod('critical', { priority: 2_000_000_000 }));
    await board.clock.advance(10_000);
    assert.equal(board.runtime.count('runPodSandbox'), 1, 'it waits for the end of the other');
    board.api.put(makePod('late'));
    await settle();
    assert.deepEqual(asked, [['small'], ['critical']]);
    const refused: string[][] = [];
    Object.assign(board.materials, {
      refuseResize: (_: Pod, others: readonly Pod[]) => void refused.push(others.map((p) => p.metadata.name as string)),
    });
    const larger = structuredClone(board.api.get('late') as Pod);
    Object.assign(larger.spec.containers[0] as object, { resources: { requests: { memory: '1Mi' } } });
    board.api.put(larger);
    await settle();
    assert.deepEqual(refused, [['critical']]);
    await board.clock.advance(30_000);
    assert.equal(board.api.get('small')?.status?.reason, 'Preempting');
    assert.equal(board.api.get('critical')?.status?.phase, 'Running');
  });
});

describe('containers of pods that have ended', () => {
  it('go when the disk is short; their statuses and those that still run stay', async () => {
    const board = new FakeNode();
    await board.start();
    board.api.put(makePod('job', { restartPolicy: 'Never' }));
    board.api.put(makePod('other'));
    await settle();
    const { containerID } = board.api.get('job')?.status?.containerStatuses?.[0] ?? {};
    board.runtime.exit(containerID?.replace('containerd://', '') as string, 3);
    await board.clock.advance(5_000);
    const before = board.api.get('job')?.status;
    assert.equal(before?.phase, 'Failed');
    await board.manager.removeDeadContainers(signal);
    await board.clock.advance(10_000);
    assert.equal(board.runtime.containers.size, 1);
    assert.deepEqual(board.api.get('job')?.status?.containerStatuses, before?.containerStatuses);
    assert.deepEqual(board.runtime.running(), ['main']);
  });
});
