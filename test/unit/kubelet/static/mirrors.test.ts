import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import type { PodManagerOptions } from '../../../../src/kubelet/index.ts';
import type { PodChange, PodSource } from '../../../../src/kubelet/pods/source.ts';
import { MirrorKeeper, mergedSource } from '../../../../src/kubelet/static/index.ts';
import { staticPod } from '../../../../src/kubelet/static/manifest.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

/** Static pods in memory. */
class Files implements PodSource {
  readonly pods = new Map<string, Pod>();
  synced = true;
  spared = false;
  readonly #handlers = new Set<(change: PodChange) => void>();
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async whenSynced(): Promise<void> {}
  spares(): boolean {
    return this.spared;
  }
  subscribe(handler: (change: PodChange) => void): () => void {
    for (const pod of this.pods.values()) handler({ type: 'set', pod });
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }
  write(image: string, spec: Partial<Pod['spec']> = {}): Pod {
    const containers = [{ name: 'main', image, imagePullPolicy: 'IfNotPresent' }];
    const document = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 's' }, spec: { ...spec, containers } };
    const pod = staticPod(document, { path: '/s', nodeName: 'n1', seenAt: 0 });
    this.remove();
    this.pods.set(pod.metadata.uid as string, pod);
    for (const handler of this.#handlers) handler({ type: 'set', pod });
    return pod;
  }
  remove(): void {
    for (const [uid, pod] of this.pods) {
      this.pods.delete(uid);
      for (const handler of this.#handlers) handler({ type: 'removed', pod });
    }
  }
}

async function nodeWithFiles(prepare: (files: Files) => void = () => {}) {
  const extra: Partial<PodManagerOptions> = {};
  const node = new FakeNode(extra);
  const files = new Files();
  prepare(files);
  node.images.present.add('busybox:2');
  const world = {
    node,
    files,
    mirrors: undefined as unknown as MirrorKeeper,
    nodeUid: 'node-uid' as string | undefined,
  };
  const wire = async () => {
    const { api, clock } = node;
    const mirrors = new MirrorKeeper({
      client: api.client,
      nodeName: 'n1',
      nodeUid: () => world.nodeUid,
      clock,
      log: silentLogger,
    });
    await mirrors.start(node.abort.signal);
    const source = mergedSource({ server: api, files, onMirror: (change) => mirrors.observed(change) });
    Object.assign(extra, { mirrors, source });
    world.mirrors = mirrors;
    await node.restart();
    await settle();
  };
  await wire();
  return Object.assign(world, { restart: wire });
}

const verbs = (node: FakeNode) => node.api.writes.map((write) => write.verb);

test('a static pod runs and shows itself at the server by a mirror with its status', async () => {
  const { node, files, mirrors } = await nodeWithFiles();
  const own = files.write('busybox:1');
  await settle();
  await node.clock.advance(2_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  const mirror = node.api.get('s-n1') as Pod;
  assert.equal(mirror.status?.phase, 'Running');
  assert.equal(mirror.metadata.annotations?.['kubernetes.io/config.mirror'], own.metadata.uid);
  assert.equal(mirror.metadata.annotations?.['kubernetes.io/config.hash'], own.metadata.uid);
  assert.equal(mirror.metadata.annotations?.['kubernetes.io/config.source'], 'file');
  assert.deepEqual(mirror.metadata.ownerReferences, [
    { apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'node-uid', controller: true },
  ]);
  assert.notEqual(mirror.metadata.uid, own.metadata.uid);
  assert.equal(mirrors.translate(mirror.metadata.uid as string), own.metadata.uid);
  assert.equal(mirrors.translate('other'), 'other');
  assert.deepEqual(
    node.manager.pods().map((pod) => pod.metadata.uid),
    [own.metadata.uid],
    'nothing runs for the mirror',
  );
  const writes = node.api.writes.length;
  await node.clock.advance(600_000);
  assert.equal(node.api.writes.length, writes, 'at rest nothing is written');
  assert.equal(node.clock.timers, 0);
});

test('a mirror somebody deletes comes back, the pod goes on', async () => {
  const { node, files } = await nodeWithFiles();
  files.write('busybox:1');
  await node.clock.advance(2_000);
  const first = node.api.get('s-n1')?.metadata.uid;
  node.api.markDeleted('s-n1');
  await node.clock.advance(2_000);
  const second = node.api.get('s-n1');
  assert.notEqual(second?.metadata.uid, first);
  assert.equal(second?.metadata.deletionTimestamp, undefined);
  assert.equal(second?.status?.phase, 'Running');
  node.api.vanish('s-n1');
  await node.clock.advance(2_000);
  assert.equal(node.api.get('s-n1')?.status?.phase, 'Running');
  assert.equal(node.runtime.count('runPodSandbox'), 1);
  assert.equal(node.runtime.count('stopContainer'), 0);
});

test('a changed manifest ends the old pod gracefully before the new one starts', async () => {
  const { node, files } = await nodeWithFiles();
  node.runtime.onTerm = () => 'ignore';
  const old = files.write('busybox:1', { terminationGracePeriodSeconds: 5 });
  await node.clock.advance(2_000);
  const next = files.write('busybox:2', { terminationGracePeriodSeconds: 5 });
  await node.clock.advance(3_000);
  assert.equal(node.runtime.count('runPodSandbox'), 1, 'the new one waits');
  assert.equal(
    node.api.get('s-n1')?.metadata.annotations?.['kubernetes.io/config.mirror'],
    old.metadata.uid,
    'the mirror is that of what runs',
  );
  await node.clock.advance(10_000);
  assert.equal(node.runtime.count('runPodSandbox'), 2);
  assert.deepEqual(node.runtime.running(), ['main']);
  const mirror = node.api.get('s-n1');
  assert.equal(mirror?.metadata.annotations?.['kubernetes.io/config.mirror'], next.metadata.uid);
  assert.equal(mirror?.status?.phase, 'Running');
  assert.deepEqual(node.materials.released, [old.metadata.uid]);
});

test('a removed manifest ends the pod, then its mirror goes', async () => {
  const { node, files } = await nodeWithFiles();
  node.runtime.onTerm = () => 'ignore';
  files.write('busybox:1', { terminationGracePeriodSeconds: 5 });
  await node.clock.advance(2_000);
  files.remove();
  await node.clock.advance(2_000);
  assert.deepEqual(node.runtime.running(), ['main'], 'it has its grace');
  assert.ok(node.api.get('s-n1'));
  await node.clock.advance(10_000);
  assert.equal(node.runtime.sandboxes.size, 0);
  assert.equal(node.api.get('s-n1'), undefined);
});

test('another agent goes on with pod and mirror as they are', async () => {
  const { node, files, restart } = await nodeWithFiles();
  files.write('busybox:1');
  await node.clock.advance(2_000);
  const mirror = node.api.get('s-n1')?.metadata.uid;
  await restart();
  await node.clock.advance(5_000);
  assert.equal(node.api.get('s-n1')?.metadata.uid, mirror);
  assert.equal(node.runtime.count('runPodSandbox'), 1);
  assert.equal(verbs(node).filter((verb) => verb === 'create').length, 1);
});

test('without a server, and before the Node is there, the pod runs all the same', async () => {
  const world = await nodeWithFiles();
  const { node, files, mirrors } = world;
  node.api.away = true;
  files.write('busybox:1');
  await node.clock.advance(20_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  world.nodeUid = undefined;
  node.api.back();
  await node.clock.advance(20_000);
  assert.equal(node.api.get('s-n1'), undefined);
  world.nodeUid = 'node-uid';
  mirrors.poke();
  await node.clock.advance(2_000);
  assert.equal(node.api.get('s-n1')?.status?.phase, 'Running');
});

test('a mirror of nobody is deleted, a name that is taken is waited for', async () => {
  const { node, files } = await nodeWithFiles();
  node.api.put(makePod('x-n1', {}, { annotations: { 'kubernetes.io/config.mirror': 'abc' } }));
  node.api.pods.set('default/s-n1', makePod('s-n1'));
  files.write('busybox:1');
  await node.clock.advance(5_000);
  assert.equal(node.api.get('x-n1'), undefined);
  assert.deepEqual(node.runtime.running(), ['main']);
  node.api.pods.delete('default/s-n1');
  await node.clock.advance(60_000);
  assert.equal(node.api.get('s-n1')?.status?.phase, 'Running');
});

test('what runs is left alone while a manifest that may be its own can not be read', async () => {
  const { node, files, restart } = await nodeWithFiles();
  files.write('busybox:1');
  await node.clock.advance(2_000);
  files.pods.clear();
  files.spared = true;
  await restart();
  await node.clock.advance(60_000);
  assert.deepEqual(node.runtime.running(), ['main']);
  files.spared = false;
  await restart();
  await node.clock.advance(60_000);
  assert.deepEqual(node.runtime.running(), []);
  assert.equal(node.api.get('s-n1'), undefined);
});
