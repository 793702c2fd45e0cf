import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeConditions } from '../../../../src/kubelet/node/index.ts';
import { conditionEvents, startEvents } from '../../../../src/kubelet/node/node-events.ts';

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
