import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const ABSENT = 'MountVolume.SetUp failed for volume "v" : secret "absent" not found';

function podWithVolume(name: string) {
  const pod = makePod(name);
  pod.spec.volumes = ['v', 'w', 'unused'].map((volume) => ({ name: volume, emptyDir: {} }));
  Object.assign(pod.spec.containers[0] as object, {
    volumeMounts: ['v', 'w'].map((volume) => ({ name: volume, mountPath: `/${volume}` })),
  });
  return pod;
}

async function eventsOf(serverMinor: number): Promise<string[]> {
  const node = new FakeNode({ serverMinor: () => serverMinor });
  node.materials.volumes = () => ABSENT;
  await node.start();
  node.api.put(podWithVolume('p'));
  for (let i = 0; i < 40; i++) await node.clock.advance(10_000);
  const events = node.recorder.events.filter((e) => e.reason === 'FailedMount');
  assert.ok(events.filter((e) => e.message === ABSENT).length > 5);
  return events.map((e) => e.message).filter((message) => message !== ABSENT);
}

describe('a pod that waits for a volume', () => {
  it('says every two minutes what it waits for, as agents of the time of its server did', async () => {
    const old = await eventsOf(21);
    assert.ok(old.length >= 2 && old.length <= 3, `${old.length} events in 400 s`);
    assert.equal(
      old[0],
      'Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[v w]: timed out waiting for the condition',
    );
    assert.equal(
      (await eventsOf(26))[0],
      'Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition',
    );
    assert.deepEqual(await eventsOf(36), []);
  });

  it('leaves its neighbours alone, however long one volume hangs and however many wait so', async () => {
    const node = new FakeNode();
    const { mountVolumes } = node.materials;
    let hanging = true;
    const ends: (() => void)[] = [];
    node.materials.mountVolumes = async (pod) => {
      if (pod.metadata.name?.startsWith('stuck') && hanging) await new Promise<void>((resolve) => ends.push(resolve));
      return mountVolumes.call(node.materials, pod);
    };
    await node.start();
    for (let i = 0; i < 5; i++) node.api.put(podWithVolume(`stuck-${i}`));
    await settle();
    node.api.put(podWithVolume('neighbour'));
    for (let i = 0; i < 15; i++) await node.clock.advance(1_000);
    assert.equal(node.api.get('neighbour')?.status?.phase, 'Running');
    assert.equal(node.api.get('stuck-0')?.status?.phase, 'Pending');
    assert.equal(ends.length, 5, 'each is tried once, and that try goes on');
    hanging = false;
    for (const end of ends) end();
    for (let i = 0; i < 5; i++) await node.clock.advance(1_000);
    assert.equal(node.api.get('stuck-4')?.status?.phase, 'Running');
  });

  it('is not torn down while its mount may still be under way', async () => {
    const node = new FakeNode();
    node.materials.mountVolumes = () => new Promise(() => {});
    await node.start();
    node.api.put(podWithVolume('stuck'));
    await node.clock.advance(5_000);
    node.api.markDeleted('stuck');
    for (let i = 0; i < 10; i++) await node.clock.advance(1_000);
    assert.deepEqual(node.materials.released, []);
  });
});

describe('a running pod', () => {
  it('gets its volumes looked at when an ephemeral container mounts another or its resources change', async () => {
    const node = new FakeNode();
    let looks = 0;
    node.materials.volumes = () => {
      looks++;
      return undefined;
    };
    await node.start();
    const pod = podWithVolume('p');
    node.api.put(pod);
    await node.clock.advance(1_000);
    assert.equal(looks, 1);
    const debug = { name: 'debug', image: 'busybox:1', volumeMounts: [{ name: 'unused', mountPath: '/u' }] };
    node.api.put({ ...pod, spec: { ...pod.spec, ephemeralContainers: [debug] } });
    await node.clock.advance(1_000);
    assert.equal(looks, 2);
    node.api.put({ ...pod, spec: { ...pod.spec, ephemeralContainers: [debug], priority: 1 } });
    await node.clock.advance(1_000);
    assert.equal(looks, 2);
  });
});
