import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isStaticPod } from '../../../../src/kubelet/containers/spec.ts';
import { withOwnSource } from '../../../../src/kubelet/pods/source.ts';
import { makePod } from '../../../fakes/pods.ts';

test('a pod of the server that calls itself one of a file is not believed', () => {
  const annotations = { 'kubernetes.io/config.source': 'file', other: 'x' };
  const pod = withOwnSource(makePod('a', {}, { annotations }));
  assert.equal(isStaticPod(pod), false);
  assert.equal(pod.metadata.annotations?.other, 'x');
  const plain = makePod('b');
  assert.equal(withOwnSource(plain), plain);
  const mirror = makePod('c', {}, { annotations: { ...annotations, 'kubernetes.io/config.mirror': 'h' } });
  assert.equal(withOwnSource(mirror), mirror, 'a mirror is shown as it is');
});
