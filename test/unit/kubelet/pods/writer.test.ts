import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import { KubeError, type Pod, type PodStatus } from '../../../../src/kube/index.ts';
import { StatusWriter, type StatusWriterOptions } from '../../../../src/kubelet/pods/status/writer.ts';
import { FakeClock } from '../../../fakes/clock.ts';

const pod = (name: string): Pod => ({
  metadata: { uid: name, name, namespace: 'd', resourceVersion: '1' },
  spec: { containers: [] },
  status: { phase: 'Pending' },
});

/** A server that answers the patches of a pod with `status`, or takes them while there is none. */
function harness() {
  const clock = new FakeClock();
  const refusals = new Map<string, number>();
  const tries: string[] = [];
  const written = new Map<string, unknown>();
  const patch = async (path: string, _kind: string, body: { status: PodStatus }) => {
    const name = path.split('/')[6] as string;
    tries.push(name);
    const status = refusals.get(name);
    if (status !== undefined) throw new KubeError({ status, message: 'no' });
    written.set(name, body.status.phase);
    return { metadata: { resourceVersion: '2' }, status: body.status };
  };
  const client = { patch, delete: async () => {}, onReachable: () => () => {} };
  const writer = new StatusWriter({ client, clock, log: silentLogger } as unknown as StatusWriterOptions);
  const stop = new AbortController();
  writer.start(stop.signal);
  return { clock, refusals, tries, written, writer, stop };
}

test('a status that this node was not let write is written once it is', async () => {
  for (const status of [401, 403]) {
    const { clock, refusals, tries, written, writer, stop } = harness();
    refusals.set('p', status);
    writer.set(pod('p'), { phase: 'Running' }, 0);
    await clock.advance(120_000);
    assert.equal(written.size, 0);
    assert.ok(tries.length >= 3 && tries.length <= 6, `${tries.length} tries`);
    writer.set(pod('q'), { phase: 'Running' }, 0);
    await clock.advance(10);
    assert.equal(written.get('q'), 'Running', 'others do not wait for it');
    await writer.flush('p', new AbortController().signal); // nor does the end of the pod
    refusals.clear();
    await clock.advance(60_000);
    assert.equal(written.get('p'), 'Running');
    stop.abort();
  }
});

test('a status that the server finds wrong is not sent again', async () => {
  const { clock, refusals, tries, writer, stop } = harness();
  refusals.set('p', 422);
  writer.set(pod('p'), { phase: 'Running' }, 0);
  await clock.advance(600_000);
  assert.deepEqual(tries, ['p']);
  stop.abort();
});
