import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const withImage = (reference: string, pullPolicy?: string) =>
  makePod('a', {
    volumes: [{ name: 'model', image: { reference, ...(pullPolicy && { pullPolicy }) } } as never],
    containers: [{ name: 'main', image: 'busybox:1', volumeMounts: [{ name: 'model', mountPath: '/model' }] }],
  });

describe('an image volume', () => {
  it('is pulled before the container that mounts it is made', async () => {
    const node = new FakeNode();
    const pulled = Promise.withResolvers<void>();
    node.images.pull = () => pulled.promise;
    await node.start();
    node.api.put(withImage('models:7'));
    await settle();
    assert.deepEqual(node.runtime.running(), []);
    pulled.resolve();
    await settle();
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.ok(
      node.images.calls.some((call) => /^pull (docker\.io\/library\/)?models:7$/.test(call)),
      node.images.calls.join(),
    );
  });

  it('that can not be had is told as the container waiting for it', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(withImage('models:7', 'Never'));
    await settle();
    await node.clock.advance(2_000);
    const [main] = node.api.get('a')?.status?.containerStatuses ?? [];
    assert.equal(main?.state?.waiting?.reason, 'ErrImageNeverPull');
    assert.match(
      main?.state?.waiting?.message ?? '',
      /Container image "models:7" is not present with pull policy of Never/,
    );
    assert.ok(node.recorder.reasons('a').includes('ErrImageNeverPull'));
  });
});
