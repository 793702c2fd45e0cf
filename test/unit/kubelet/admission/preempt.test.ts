import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { admit, podsToPreempt } from '../../../../src/kubelet/admission/index.ts';
import type { NodeFacts } from '../../../../src/kubelet/materials.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const node: NodeFacts = {
  name: 'n1',
  labels: { 'kubernetes.io/os': 'linux' },
  taints: [],
  allocatable: { cpu: '1', memory: '1000', pods: '10' },
  hostIps: ['10.0.0.1'],
  hostname: 'n1',
};
const CRITICAL = 2_000_000_000;
const pod = (name: string, resources: object, spec: Partial<Pod['spec']> = {}) =>
  makePod(name, {
    containers: [{ name: 'main', image: 'busybox:1', imagePullPolicy: 'IfNotPresent', resources }],
    ...spec,
  });
const burstable = (name: string, memory: number, spec: Partial<Pod['spec']> = {}) =>
  pod(name, { requests: { memory: String(memory) } }, spec);
const guaranteed = (name: string, memory: number) =>
  pod(name, { limits: { memory: String(memory), cpu: '1m' }, requests: { memory: String(memory), cpu: '1m' } });
const victims = (critical: Pod, active: Pod[]) => {
  const answer = admit(critical, active, node, { allowedUnsafeSysctls: [] });
  assert.ok(!answer.admitted && answer.shortages, JSON.stringify(answer));
  return podsToPreempt(critical, active, answer.shortages).map((p) => p.metadata.name);
};

describe('a critical pod for which there is no place', () => {
  it('pushes off burstable pods before guaranteed ones, and the least that is enough', () => {
    const critical = burstable('critical', 300, { priority: CRITICAL });
    const all = [burstable('a', 100), burstable('b', 400), burstable('c', 250), guaranteed('g', 200)];
    // 50 are left, so 250 are wanted: c is exactly that.
    assert.deepEqual(victims(critical, all), ['c']);
    assert.deepEqual(victims(burstable('critical', 700, { priority: CRITICAL }), all), ['b', 'c']);
    assert.deepEqual(victims(burstable('critical', 910, { priority: CRITICAL }), all).sort(), ['a', 'b', 'c', 'g']);
  });

  it('leaves pods as important as itself alone, and says so when the others are not enough', () => {
    const critical = burstable('critical', 900, { priority: CRITICAL });
    const all = [burstable('peer', 500, { priority: CRITICAL }), burstable('small', 100)];
    assert.throws(
      () => victims(critical, all),
      /^AgentError: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: \[\(res: memory, q: 400\), \]$/,
    );
    const higher = burstable('higher', 900, { priority: CRITICAL + 1000 });
    assert.deepEqual(victims(higher, all), ['peer']);
  });

  it('makes place among the number of pods, too', () => {
    const facts = { ...node, allocatable: { ...node.allocatable, pods: '2' } };
    const active = [burstable('a', 10), pod('best', {})];
    const critical = pod('critical', {}, { priority: CRITICAL });
    const answer = admit(critical, active, facts, { allowedUnsafeSysctls: [] });
    assert.ok(!answer.admitted && answer.shortages);
    assert.deepEqual(
      podsToPreempt(critical, active, answer.shortages).map((p) => p.metadata.name),
      ['best'],
    );
  });

  it('pushes nobody off if something else is in its way; others are refused as ever', () => {
    const elsewhere = burstable('critical', 900, { priority: CRITICAL, nodeSelector: { zone: 'b' } });
    const verdict = (p: Pod) => admit(p, [burstable('a', 500)], node, { allowedUnsafeSysctls: [] });
    assert.deepEqual(verdict(elsewhere), {
      admitted: false,
      reason: 'NodeAffinity',
      message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    });
    const ordinary = verdict(burstable('ordinary', 900));
    assert.ok(!ordinary.admitted && ordinary.shortages === undefined && ordinary.reason === 'OutOfmemory');
  });

  it('begins when those that had to go are gone', async () => {
    const board = new FakeNode();
    board.materials.admitted = (p, active) => admit(p, active, node, { allowedUnsafeSysctls: [] });
    await board.start();
    board.runtime.onTerm = () => 'ignore';
    board.api.put(burstable('low', 800, { terminationGracePeriodSeconds: 10 }));
    board.api.put(burstable('other', 100));
    await settle();
    board.api.put(burstable('critical', 500, { priority: CRITICAL }));
    board.api.put(burstable('late', 500));
    await board.clock.advance(5_000);
    assert.equal(board.api.get('low')?.status?.phase, 'Running', 'its grace is its own');
    assert.equal(board.api.get('critical')?.status?.phase, undefined);
    assert.equal(board.api.get('late')?.status?.reason, 'OutOfmemory', 'the place is taken already');
    await board.clock.advance(10_000);
    const low = board.api.get('low')?.status;
    assert.deepEqual(
      [low?.phase, low?.reason, low?.message],
      ['Failed', 'Preempting', 'Preempted in order to admit critical pod'],
    );
    const condition = low?.conditions?.find((c) => c.type === 'DisruptionTarget');
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.message],
      ['True', 'TerminationByKubelet', 'Pod was preempted by Kubelet to accommodate a critical pod.'],
    );
    assert.ok(board.recorder.events.some((e) => e.name === 'low' && e.type === 'Warning' && e.reason === 'Preempting'));
    assert.equal(board.api.get('critical')?.status?.phase, 'Running');
    assert.equal(board.api.get('other')?.status?.phase, 'Running');
  });

  it('is refused with the reason if nobody can make place', async () => {
    const board = new FakeNode();
    board.materials.admitted = (p, active) => admit(p, active, node, { allowedUnsafeSysctls: [] });
    await board.start();
    board.api.put(burstable('critical', 5000, { priority: CRITICAL }));
    await board.clock.advance(1_000);
    const { phase, reason, message } = board.api.get('critical')?.status ?? {};
    assert.deepEqual([phase, reason], ['Failed', 'UnexpectedAdmissionError']);
    assert.match(
      message ?? '',
      /^Pod was rejected: Unexpected error while attempting to recover from admission failure: /,
    );
  });
});
