import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeConditions } from '../../../../src/kubelet/node/index.ts';
import {
  cgroupEvents,
  conditionEvents,
  enforcementEvent,
  startEvents,
} from '../../../../src/kubelet/node/node-events.ts';

const healthy = { memoryPressure: false, diskPressure: false, pidPressure: false, notReady: [] };
const starting = nodeConditions({ ...healthy, notReady: ['the agent is starting'] }, [], 0);
const ready = nodeConditions(healthy, starting, 1_000);
const reasons = (events: { reason: string }[]) => events.map(({ reason }) => reason);

test('a new node tells of its pressures, and of being ready once it is', () => {
  const first = conditionEvents('n1', [], starting);
  assert.deepEqual(reasons(first), ['NodeHasSufficientMemory', 'NodeHasNoDiskPressure', 'NodeHasSufficientPID']);
  assert.equal(first[0]?.message, 'Node n1 status is now: NodeHasSufficientMemory');
  assert.deepEqual(conditionEvents('n1', starting, ready), [
    { type: 'Normal', reason: 'NodeReady', message: 'Node n1 status is now: NodeReady' },
  ]);
});

test('what stays as it was is not told again; what the server marked unknown is', () => {
  assert.deepEqual(conditionEvents('n1', ready, nodeConditions(healthy, ready, 2_000)), []);
  const unknown = ready.map((condition) => ({ ...condition, status: 'Unknown' as const }));
  assert.deepEqual(reasons(conditionEvents('n1', unknown, ready)), [
    'NodeHasSufficientMemory',
    'NodeHasNoDiskPressure',
    'NodeHasSufficientPID',
    'NodeReady',
  ]);
  const full = nodeConditions(
    { ...healthy, diskPressure: true, notReady: ['container runtime is down'] },
    ready,
    3_000,
  );
  assert.deepEqual(reasons(conditionEvents('n1', ready, full)), ['NodeHasDiskPressure', 'NodeNotReady']);
});

test('a start is told, and a boot since the last one', () => {
  assert.deepEqual(reasons(startEvents('n1', undefined, 'a')), ['Starting']);
  assert.deepEqual(reasons(startEvents('n1', 'a', 'a')), ['Starting']);
  assert.deepEqual(startEvents('n1', 'a', 'b')[1], {
    type: 'Warning',
    reason: 'Rebooted',
    message: 'Node n1 has been rebooted, boot id: b',
  });
});

test('cgroup v1 is told of in the words of the version, from the one on that minds', () => {
  assert.deepEqual(cgroupEvents(2, 'v1.36.3+k3s1'), []);
  assert.deepEqual(cgroupEvents(1, 'v1.21.3+k3s1'), []);
  assert.match(cgroupEvents(1, 'v1.31.0+k3s1')[0]?.message ?? '', /^Cgroup v1 support is in maintenance mode/);
  const [event] = cgroupEvents(1, 'v1.36.3+k3s1');
  assert.deepEqual([event?.type, event?.reason], ['Warning', 'CgroupV1']);
  assert.match(event?.message ?? '', /^cgroup v1 detected\. cgroup v1 support is deprecated/);
});

test('the bound of all pods is told of, and why it can not be set', () => {
  assert.deepEqual(enforcementEvent(undefined), {
    type: 'Normal',
    reason: 'NodeAllocatableEnforced',
    message: 'Updated Node Allocatable limit across pods',
  });
  assert.deepEqual(
    [enforcementEvent('EBUSY').type, enforcementEvent('EBUSY').reason],
    ['Warning', 'FailedNodeAllocatableEnforcement'],
  );
});
