import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

test('a pod without any grace still gets two seconds, and is gone with its object', async () => {
  const node = new FakeNode();
  node.runtime.onTerm = () => 'ignore';
  await node.start();
  node.api.put(makePod('a', { terminationGracePeriodSeconds: 0 }));
  await settle();
  node.api.vanish('a');
  await node.clock.advance(1_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  await node.clock.advance(3_000);
  assert.equal(node.runtime.sandboxes.size, 0);
  assert.deepEqual(node.manager.pods(), []);
});

test('a pod deleted by force while the agent was away is ended as a leftover, its namesake runs', async () => {
  const node = new FakeNode();
  await node.start();
  node.api.put(makePod('a'));
  await settle();
  await node.manager.stop();
  node.api.forgetSubscribers();
  node.api.vanish('a');
  node.api.put(makePod('a'));
  await node.restart();
  await node.clock.advance(10_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  assert.equal(node.runtime.sandboxes.size, 1);
  assert.equal(node.api.get('a')?.status?.phase, 'Running');
});

test('a pod taken off by force while it ends is gone within the grace it has', async () => {
  const node = new FakeNode();
  node.runtime.onTerm = () => 'ignore';
  await node.start();
  node.api.put(makePod('a', { terminationGracePeriodSeconds: 300 }));
  await settle();
  node.api.markDeleted('a', 300);
  await node.clock.advance(5_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  node.api.vanish('a');
  await node.clock.advance(400_000);
  assert.equal(node.runtime.sandboxes.size, 0);
});
