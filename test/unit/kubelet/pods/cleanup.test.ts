import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newMemory } from '../../../../src/kubelet/pods/memory.ts';
import type { ObservedContainer } from '../../../../src/kubelet/pods/model.ts';
import { planCleanup } from '../../../../src/kubelet/pods/plan-cleanup.ts';
import { emptyPlan } from '../../../../src/kubelet/pods/plan-types.ts';
import { makePod } from '../../../fakes/pods.ts';

function container(id: string, name: string, state: ObservedContainer['state'], cutOff = false): ObservedContainer {
  return { id, name, state, cutOff, sandboxId: 's', attempt: 0 } as ObservedContainer;
}

/** Newest first, as in a view. */
const CONTAINERS = [
  container('m4', 'main', 'running'),
  container('m3', 'main', 'exited', true),
  container('m2', 'main', 'exited'),
  container('i1', 'init', 'exited'),
  container('m1', 'main', 'exited'),
  container('m0', 'main', 'exited'),
];

function removed(olderKept?: number): string[] {
  const plan = emptyPlan();
  planCleanup(
    {
      pod: makePod('p'),
      view: { sandboxes: [], containers: CONTAINERS },
      memory: newMemory(0, 0),
      inFlight: new Set(),
      ending: undefined,
      hashOf: () => '',
      now: 0,
      ...(olderKept === undefined ? {} : { olderKept }),
    },
    plan,
  );
  return plan.steps.flatMap((step) => (step.do === 'removeContainer' ? [step.id] : []));
}

test('of the dead containers one stays behind the newest, as many as were asked for, or all', () => {
  assert.deepEqual(removed(), ['m3', 'm1', 'm0']);
  assert.deepEqual(removed(2), ['m3', 'm0']);
  assert.deepEqual(removed(-1), ['m3']);
});

test('the newest of each name stays in any case: the status is made of it', () => {
  assert.deepEqual(removed(0), ['m3', 'm2', 'm1', 'm0']);
});
