import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const unavailable = () => new AgentError({ code: 'CRI_UNAVAILABLE', message: 'no runtime' });

describe('a pod from its creation to its end', () => {
  it('starts with one sandbox, one container, three events and one urgent status', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.deepEqual(node.recorder.reasons('a'), ['Pulled', 'Created', 'Started']);
    const status = node.api.get('a')?.status;
    assert.equal(status?.phase, 'Running');
    assert.equal(status?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
    assert.equal(node.api.writes.length, 1);
    assert.equal(node.manager.pods()[0]?.status?.phase, 'Running');
    await node.clock.advance(60_000);
    assert.equal(node.api.writes.length, 1, 'nothing is written while nothing changes');
    const calls = node.runtime.calls.length;
    await node.clock.advance(3_600_000);
    assert.equal(node.runtime.calls.length, calls, 'a pod at rest costs no runtime calls');
  });

  it('is killed with its grace, then confirmed, then removed with its logs', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    const uid = node.api.get('a')?.metadata.uid as string;
    node.api.markDeleted('a', 5);
    await settle();
    await node.clock.advance(1_000);
    assert.equal(node.api.get('a'), undefined);
    assert.equal(node.runtime.sandboxes.size, 0);
    assert.deepEqual(node.materials.released, [uid]);
    assert.deepEqual(node.materials.logsRemoved, ['a']);
    assert.deepEqual(node.manager.pods(), []);
    const verbs = node.api.writes.map((w) => w.verb);
    assert.deepEqual(verbs, ['patch', 'patch', 'delete'], 'one status with the end, one deletion');
    assert.ok(node.recorder.events.some((e) => e.reason === 'Killing' && e.message === 'Stopping container main'));
    assert.equal(node.clock.timers, 0);
  });

  it('gets SIGKILL when it ignores SIGTERM, sooner if the grace is shortened meanwhile', async () => {
    const node = new FakeNode();
    node.runtime.onTerm = () => 'ignore';
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    node.api.markDeleted('a', 300);
    await node.clock.advance(10_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    node.api.markDeleted('a', 5);
    await node.clock.advance(4_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    await node.clock.advance(3_000);
    assert.deepEqual(node.runtime.running(), []);
    assert.equal(node.api.get('a'), undefined);
  });

  it('is gone before the last of many is told to go, and a slow one holds up nobody for long', async () => {
    const node = new FakeNode();
    const names = Array.from({ length: 20 }, (_, i) => `p${i}`);
    let told = 0;
    let toldAtFirstEnd = 0;
    node.runtime.onTerm = () => {
      told++;
      return told === 1 ? 'ignore' : 0;
    };
    node.runtime.intercept = async (call) => {
      if (call === 'stopContainer' || call === 'stopPodSandbox') await node.clock.sleep(50);
      if (call === 'stopPodSandbox' && toldAtFirstEnd === 0) toldAtFirstEnd = told;
    };
    await node.start();
    for (const name of names) node.api.put(makePod(name));
    await node.clock.advance(1_000);
    assert.equal(node.runtime.running().length, 20);
    for (const name of names) node.api.markDeleted(name, 30);
    for (let i = 0; i < 60; i++) await node.clock.advance(50);
    assert.ok(toldAtFirstEnd < 10, `${toldAtFirstEnd} of 20 were told to go before the first sandbox was stopped`);
    assert.deepEqual([told, node.runtime.running().length], [20, 1]);
    await node.clock.advance(40_000);
    assert.equal(node.runtime.sandboxes.size, 0);
  });

  it('that is deleted by force does not wait for its turn', async () => {
    const node = new FakeNode();
    node.runtime.onTerm = () => 'ignore';
    node.runtime.intercept = async (call) => {
      if (call === 'stopPodSandbox') await new Promise(() => {});
    };
    await node.start();
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) node.api.put(makePod(name));
    await settle();
    for (const name of ['a', 'b', 'c', 'd', 'e']) node.api.markDeleted(name, 1);
    await node.clock.advance(10_000);
    const before = node.runtime.count('stopContainer');
    node.api.markDeleted('f', 0);
    await settle();
    await node.clock.advance(1);
    assert.equal(node.runtime.count('stopContainer'), before + 1);
  });

  it('is removed when its object vanishes', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    node.api.vanish('a');
    await node.clock.advance(1_000);
    assert.equal(node.runtime.sandboxes.size, 0);
    assert.deepEqual(
      node.api.writes.map((w) => w.verb),
      ['patch'],
    );
  });

  it('stays Succeeded, keeps its container for its log and stops its sandbox', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('job', { restartPolicy: 'Never' }));
    await settle();
    node.runtime.exit(node.runtime.byName('main')?.id as string, 0);
    await node.clock.advance(2_000);
    const status = node.api.get('job')?.status;
    assert.equal(status?.phase, 'Succeeded');
    assert.equal(status?.conditions?.find((c) => c.type === 'Ready')?.reason, 'PodCompleted');
    assert.equal(status?.containerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
    assert.equal(node.runtime.containers.size, 1);
    assert.equal([...node.runtime.sandboxes.values()][0]?.ready, false);
    await node.restart();
    await node.clock.advance(60_000);
    assert.equal(node.runtime.count('runPodSandbox'), 1, 'an ended pod is never started again');
  });
});

describe('a crashing container', () => {
  it('comes back at once, then after 10, 20, 40 … 300 s, and says so', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('c'));
    await settle();
    const starts: number[] = [];
    let last = node.clock.monotonic();
    for (let i = 0; i < 8; i++) {
      const before = node.runtime.count('startContainer');
      node.runtime.exit(node.runtime.byName('main')?.id as string, 3);
      await settle();
      last = node.clock.monotonic();
      while (node.runtime.count('startContainer') === before) await node.clock.advance(node.clock.next ?? 1_000);
      starts.push(Math.round((node.clock.monotonic() - last) / 1000));
    }
    assert.deepEqual(starts, [0, 10, 20, 40, 80, 160, 300, 300]);
    assert.equal(node.runtime.containers.size <= 3, true, 'older dead containers are removed');
  });

  it('shows CrashLoopBackOff with its pause and its last end', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('c'));
    await settle();
    for (let i = 0; i < 2; i++) {
      node.runtime.exit(node.runtime.byName('main')?.id as string, 3);
      await settle();
    }
    await node.clock.advance(10);
    const pod = node.api.get('c');
    const status = pod?.status?.containerStatuses?.[0];
    assert.deepEqual(status?.state, {
      waiting: {
        reason: 'CrashLoopBackOff',
        message: `back-off 10s restarting failed container=main pod=c_default(${pod?.metadata.uid})`,
      },
    });
    assert.equal(status?.lastState?.terminated?.exitCode, 3);
    assert.equal(status?.restartCount, 1);
    assert.equal(pod?.status?.phase, 'Running');
    const backOff = node.recorder.events.filter((e) => e.reason === 'BackOff');
    assert.equal(
      backOff[0]?.message,
      `Back-off restarting failed container main in pod c_default(${pod?.metadata.uid})`,
    );
    assert.equal(node.runtime.containers.size, 2, 'the one before stays for its log');
  });

  it('is not held up by a wall clock that jumps back by years', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('c'));
    await settle();
    for (let i = 0; i < 2; i++) {
      node.runtime.exit(node.runtime.byName('main')?.id as string, 3);
      await settle();
    }
    node.clock.jump(-30 * 365 * 86_400_000);
    await node.clock.advance(11_000);
    assert.equal(node.runtime.count('startContainer'), 3);
  });
});

describe('init containers and sidecars', () => {
  it('run one after the other, sidecars stay and end last', async () => {
    const node = new FakeNode();
    const order: string[] = [];
    node.runtime.intercept = (call, name) => {
      if (call === 'startContainer' || call === 'stopContainer') order.push(`${call} ${name}`);
    };
    await node.start();
    const image = 'busybox:1';
    node.api.put(
      makePod('p', {
        restartPolicy: 'Never',
        initContainers: [
          { name: 'first', image },
          { name: 'side', image, restartPolicy: 'Always' },
          { name: 'second', image },
        ],
        containers: [
          { name: 'main', image },
          { name: 'other', image },
        ],
      }),
    );
    await settle();
    assert.deepEqual(node.runtime.running(), ['first']);
    node.runtime.exit(node.runtime.byName('first')?.id as string, 0);
    await settle();
    assert.deepEqual(node.runtime.running(), ['second', 'side']);
    node.runtime.exit(node.runtime.byName('second')?.id as string, 0);
    await settle();
    assert.deepEqual(node.runtime.running(), ['main', 'other', 'side']);
    node.api.markDeleted('p', 5);
    await node.clock.advance(1_000);
    const stops = order.filter((o) => o.startsWith('stop'));
    assert.equal(stops.at(-1), 'stopContainer side');
    assert.equal(node.api.get('p'), undefined);
  });

  it('a sidecar is restarted, a failed init container ends a pod that may not restart', async () => {
    const node = new FakeNode();
    await node.start();
    const image = 'busybox:1';
    node.api.put(
      makePod('s', {
        initContainers: [{ name: 'side', image, restartPolicy: 'Always' }],
        containers: [{ name: 'm1', image }],
      }),
    );
    node.api.put(
      makePod('f', {
        restartPolicy: 'Never',
        initContainers: [{ name: 'init', image }],
        containers: [{ name: 'm2', image }],
      }),
    );
    await settle();
    node.runtime.exit(node.runtime.byName('side')?.id as string, 0);
    node.runtime.exit(node.runtime.byName('init')?.id as string, 2);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), ['m1', 'side']);
    const status = node.api.get('f')?.status;
    assert.equal(status?.phase, 'Failed');
    assert.deepEqual(status?.containerStatuses?.[0]?.state, { waiting: { reason: 'PodInitializing' } });
    const initialized = status?.conditions?.find((c) => c.type === 'Initialized');
    assert.equal(initialized?.message, 'containers with incomplete status: [init]');
  });

  it('a Job with a sidecar ends when its app container ends', async () => {
    const node = new FakeNode();
    await node.start();
    const image = 'busybox:1';
    node.api.put(
      makePod('j', {
        restartPolicy: 'OnFailure',
        initContainers: [{ name: 'side', image, restartPolicy: 'Always' }],
        containers: [{ name: 'main', image }],
      }),
    );
    await settle();
    node.runtime.exit(node.runtime.byName('main')?.id as string, 0);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), []);
    assert.equal(node.api.get('j')?.status?.phase, 'Succeeded');
  });
});

describe('what can go wrong', () => {
  it('a missing volume: an event each try, no sandbox kept waiting, and the pod starts when it is there', async () => {
    const node = new FakeNode();
    let missing = true;
    node.materials.volumes = () =>
      missing ? 'MountVolume.SetUp failed for volume "v" : secret "absent" not found' : undefined;
    await node.start();
    node.api.put(makePod('v'));
    await node.clock.advance(5_000);
    assert.equal(node.api.get('v')?.status?.phase, 'Pending');
    assert.deepEqual(node.api.get('v')?.status?.containerStatuses?.[0]?.state, {
      waiting: { reason: 'ContainerCreating' },
    });
    assert.ok(node.recorder.reasons('v').filter((r) => r === 'FailedMount').length >= 3);
    assert.equal(
      [...node.runtime.sandboxes.values()].some((s) => s.ready),
      false,
    );
    assert.ok(node.runtime.count('runPodSandbox') <= 1);
    assert.equal(node.api.get('v')?.status?.podIP, undefined);
    missing = false;
    await node.clock.advance(10_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.ok(!node.recorder.reasons('v').includes('SandboxChanged'));
  });

  it('a volume that appears is used at once, not at the end of the pause', async () => {
    const node = new FakeNode();
    let missing = true;
    node.materials.volumes = () => (missing ? 'MountVolume.SetUp failed for volume "v" : not found' : undefined);
    await node.start();
    node.api.put(makePod('v'));
    await node.clock.advance(60_000);
    missing = false;
    node.materials.volumesMayBeReady(node.api.get('v')?.metadata.uid ?? '');
    await node.clock.advance(1_000);
    assert.deepEqual(node.runtime.running(), ['main']);
  });

  it('no pod network: pods wait with an event, those on the host network run', async () => {
    let missing: string | undefined = 'cni plugin not initialized';
    const node = new FakeNode({ networkMissing: async () => missing });
    await node.start();
    node.api.put(makePod('waits'));
    const host = makePod('host');
    host.spec.hostNetwork = true;
    node.api.put(host);
    await node.clock.advance(2_000);
    assert.equal(node.api.get('host')?.status?.phase, 'Running');
    assert.equal(node.api.get('waits')?.status?.phase, 'Pending');
    assert.ok(node.recorder.reasons('waits').includes('NetworkNotReady'));
    missing = undefined;
    await node.clock.advance(16_000);
    assert.equal(node.api.get('waits')?.status?.phase, 'Running');
  });

  it('a broken configuration: CreateContainerConfigError with the text, then recovery', async () => {
    const node = new FakeNode();
    let broken = true;
    node.materials.config = () => {
      if (broken) throw new AgentError({ code: 'CONTAINER_CONFIG', message: 'configmap "absent" not found' });
    };
    await node.start();
    node.api.put(makePod('m'));
    await node.clock.advance(100);
    assert.deepEqual(node.api.get('m')?.status?.containerStatuses?.[0]?.state, {
      waiting: { reason: 'CreateContainerConfigError', message: 'configmap "absent" not found' },
    });
    assert.ok(node.recorder.events.some((e) => e.message === 'Error: configmap "absent" not found'));
    broken = false;
    await node.clock.advance(15_000);
    assert.deepEqual(node.runtime.running(), ['main']);
  });

  it('an image that can not be pulled: ErrImagePull, then ImagePullBackOff, then another pull', async () => {
    const node = new FakeNode();
    node.images.pull = () => {
      throw new AgentError({ code: 'CRI_UNKNOWN', message: 'failed to resolve reference' });
    };
    await node.start();
    node.api.put(makePod('i', { containers: [{ name: 'main', image: 'registry.invalid/none:1' }] }));
    await node.clock.advance(100);
    const waiting = () => node.api.get('i')?.status?.containerStatuses?.[0]?.state?.waiting;
    assert.deepEqual(waiting(), { reason: 'ErrImagePull', message: 'failed to resolve reference' });
    await node.clock.advance(6_000);
    assert.deepEqual(waiting(), {
      reason: 'ImagePullBackOff',
      message: 'Back-off pulling image "registry.invalid/none:1": ErrImagePull: failed to resolve reference',
    });
    await node.clock.advance(5_000);
    assert.equal(node.images.calls.filter((c) => c.startsWith('pull')).length, 2);
    assert.deepEqual(
      node.recorder.events.slice(0, 5).map((e) => `${e.type} ${e.reason} ${e.message}`),
      [
        'Normal Pulling Pulling image "registry.invalid/none:1"',
        'Warning Failed Failed to pull image "registry.invalid/none:1": failed to resolve reference',
        'Warning Failed Error: ErrImagePull',
        'Normal BackOff Back-off pulling image "registry.invalid/none:1"',
        'Warning Failed Error: ImagePullBackOff',
      ],
    );
  });

  it('a program that is not there: StartError ends a pod that may not restart', async () => {
    const node = new FakeNode();
    node.runtime.intercept = (call) => {
      if (call === 'startContainer') throw new AgentError({ code: 'CRI_UNKNOWN', message: 'exec: "/no/such": stat' });
    };
    await node.start();
    node.api.put(makePod('b', { restartPolicy: 'Never' }));
    await node.clock.advance(2_000);
    const status = node.api.get('b')?.status;
    assert.equal(status?.phase, 'Failed');
    assert.equal(status?.containerStatuses?.[0]?.state?.terminated?.reason, 'StartError');
    assert.equal(status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 128);
    assert.equal(node.runtime.count('createContainer'), 1);
  });

  it('a pod that does not fit is Failed with the reason, its neighbour runs', async () => {
    const node = new FakeNode();
    node.materials.admitted = (pod) =>
      pod.metadata.name === 'big'
        ? { admitted: false, reason: 'OutOfcpu', message: "Node didn't have enough resource: cpu" }
        : { admitted: true };
    await node.start();
    node.api.put(makePod('big'));
    node.api.put(makePod('small'));
    await settle();
    const { status } = node.api.get('big') ?? {};
    assert.deepEqual([status?.phase, status?.reason], ['Failed', 'OutOfcpu']);
    assert.equal(status?.message, "Pod was rejected: Node didn't have enough resource: cpu");
    assert.equal(status?.conditions, undefined);
    assert.equal(node.api.get('small')?.status?.phase, 'Running');
    const writes = node.api.writes.length;
    await node.restart();
    await node.clock.advance(60_000);
    assert.equal(node.api.writes.length, writes, 'a restart of the agent changes nothing about it');
    node.api.markDeleted('big', 0);
    await node.clock.advance(100);
    assert.equal(node.api.get('big'), undefined);
  });

  it('activeDeadlineSeconds ends the pod as DeadlineExceeded', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('d', { activeDeadlineSeconds: 5 }));
    await node.clock.advance(4_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), []);
    const { status } = node.api.get('d') ?? {};
    assert.deepEqual(
      [status?.phase, status?.reason, status?.message],
      ['Failed', 'DeadlineExceeded', 'Pod was active on the node longer than the specified deadline'],
    );
  });

  it('a failing pod never holds up another', async () => {
    const node = new FakeNode();
    node.runtime.intercept = (call, name) => {
      if (call === 'runPodSandbox' && name.startsWith('bad'))
        throw new AgentError({ code: 'CRI_UNKNOWN', message: 'cni plugin failed' });
    };
    await node.start();
    for (let i = 0; i < 10; i++) node.api.put(makePod(`bad${i}`));
    for (let i = 0; i < 10; i++) node.api.put(makePod(`good${i}`));
    await node.clock.advance(100);
    assert.equal(node.runtime.running().length, 10);
    assert.ok(
      node.recorder.events.some(
        (e) =>
          e.reason === 'FailedCreatePodSandBox' &&
          e.message === 'Failed to create pod sandbox: rpc error: code = Unknown desc = cni plugin failed',
      ),
    );
  });
});

describe('the runtime and the server come and go', () => {
  it('a runtime that is away is waited for; nothing is started twice', async () => {
    const node = new FakeNode();
    let away = true;
    node.runtime.intercept = () => {
      if (away) throw unavailable();
    };
    await node.start();
    node.api.put(makePod('a'));
    await node.clock.advance(60_000);
    away = false;
    node.runtime.emit({ type: 'resync' });
    await settle();
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.deepEqual(node.recorder.reasons('a'), ['Pulled', 'Created', 'Started']);
  });

  it('an exit that could not be looked at is found soon, without another event', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a', { restartPolicy: 'Never' }));
    await node.clock.advance(1_000);
    let refusals = 2;
    node.runtime.intercept = (call) => {
      if (call === 'containerStatus' && refusals-- > 0) throw unavailable();
    };
    node.runtime.exit(node.runtime.byName('main')?.id as string, 0);
    await node.clock.advance(5_000);
    assert.equal(node.api.get('a')?.status?.phase, 'Succeeded');
  });

  it('a server that is away gets the latest status when it is back', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.away = true;
    const pod = makePod('a', { restartPolicy: 'Never' });
    node.api.put(pod);
    await settle();
    node.runtime.exit(node.runtime.byName('main')?.id as string, 0);
    await node.clock.advance(600_000);
    assert.equal(node.manager.status().unsent, 1);
    node.api.back();
    await node.clock.advance(10);
    assert.equal(node.api.get('a')?.status?.phase, 'Succeeded');
    assert.equal(node.api.writes.length, 1);
  });

  it('leaves no reason behind on a condition that became true', async () => {
    const node = new FakeNode();
    let missing = true;
    node.materials.volumes = () => (missing ? 'not yet' : undefined);
    await node.start();
    node.api.put(makePod('a'));
    await node.clock.advance(3_000);
    const ready = () => node.api.get('a')?.status?.conditions?.find((c) => c.type === 'Ready');
    assert.equal(ready()?.reason, 'ContainersNotReady');
    missing = false;
    await node.clock.advance(5_000);
    assert.deepEqual([ready()?.status, ready()?.reason, ready()?.message], ['True', undefined, undefined]);
  });

  it('repairs what others changed of its status, and does not fight', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    const pod = node.api.get('a');
    const ready = pod?.status?.conditions?.find((c) => c.type === 'Ready');
    assert.ok(pod && ready);
    ready.status = 'False';
    node.api.put(pod);
    await node.clock.advance(100);
    assert.equal(node.api.get('a')?.status?.conditions?.find((c) => c.type === 'Ready')?.status, 'True');
    const writes = node.api.writes.length;
    for (let i = 0; i < 20; i++) {
      const again = node.api.get('a')?.status?.conditions?.find((c) => c.type === 'Ready');
      assert.ok(again);
      again.status = 'False';
      node.api.put(pod);
      await node.clock.advance(100);
    }
    assert.ok(node.api.writes.length - writes <= 2);
  });

  it('after a restart running containers are adopted untouched', async () => {
    const node = new FakeNode();
    await node.start();
    for (const name of ['a', 'b', 'c']) node.api.put(makePod(name));
    await settle();
    const ids = [...node.runtime.containers.keys()];
    const writes = node.api.writes.length;
    await node.restart();
    await node.clock.advance(60_000);
    assert.deepEqual([...node.runtime.containers.keys()], ids);
    assert.equal(node.runtime.count('createContainer'), 3);
    assert.equal(node.runtime.count('stopContainer'), 0);
    assert.equal(node.api.writes.length, writes, 'an adopted pod shows what it showed before');
  });

  it('killed in the middle of a start: what is half made is used or replaced, never doubled', async () => {
    for (const at of ['runPodSandbox', 'createContainer', 'startContainer']) {
      const node = new FakeNode();
      let dead = false;
      node.runtime.linger = (call) => {
        if (call !== at || dead) return undefined;
        dead = true;
        return new Promise<void>(() => {});
      };
      await node.start();
      node.api.put(makePod('k'));
      await settle();
      assert.equal(dead, true);
      await node.kill();
      await node.clock.advance(30_000);
      assert.equal(node.runtime.sandboxes.size, 1, `killed at ${at}`);
      assert.equal(node.runtime.containers.size, 1, `killed at ${at}`);
      assert.deepEqual(node.runtime.running(), ['main'], `killed at ${at}`);
      assert.equal(node.api.get('k')?.status?.phase, 'Running', `killed at ${at}`);
    }
  });

  it('a start that was cut off by the death of the agent is made again as if it had not been', async () => {
    const node = new FakeNode();
    let dead = false;
    node.runtime.intercept = (call) => {
      if (call === 'startContainer' && !dead) throw new Error('cut off');
    };
    await node.start();
    node.api.put(makePod('k', { restartPolicy: 'Never' }));
    await settle();
    dead = true;
    const [container] = [...node.runtime.containers.values()];
    assert.equal(container?.reason, 'StartError');
    node.runtime.message = 'failed to create containerd task: context canceled';
    const pod = node.api.get('k');
    assert.ok(pod);
    pod.status = {};
    await node.kill();
    await node.clock.advance(5_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.equal(node.runtime.containers.size, 1);
    assert.equal(node.api.get('k')?.status?.containerStatuses?.[0]?.restartCount, 0);
  });

  it('a sandbox that died is replaced with all its containers', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    const [old] = [...node.runtime.sandboxes.values()];
    assert.ok(old);
    old.ready = false;
    node.runtime.emit({ type: 'container', kind: 'exited', containerId: old.id });
    await node.clock.advance(2_000);
    const ready = [...node.runtime.sandboxes.values()].filter((s) => s.ready);
    assert.deepEqual(
      ready.map((s) => s.config.metadata.attempt),
      [1],
    );
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.equal(node.api.get('a')?.status?.containerStatuses?.[0]?.restartCount, 1);
    assert.equal(node.recorder.reasons('a').filter((reason) => reason === 'SandboxChanged').length, 1);
  });

  it('a board with another address shows it in the statuses of its pods, and restarts nothing', async () => {
    let address = '10.99.0.2';
    const node = new FakeNode({ hostIps: () => [address] });
    await node.start();
    node.api.put(makePod('a'));
    await node.clock.advance(2_000);
    assert.equal(node.api.get('a')?.status?.hostIP, '10.99.0.2');
    address = '10.99.0.77';
    node.manager.hostIpsChanged();
    await node.clock.advance(10_000);
    assert.equal(node.api.get('a')?.status?.hostIP, '10.99.0.77');
    assert.equal(node.api.get('a')?.status?.containerStatuses?.[0]?.restartCount, 0);
  });

  it('another pod network: sandboxes with addresses of the old one are made anew, others stay', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    node.api.put(makePod('h', { hostNetwork: true }));
    await settle();
    node.manager.subnetChanged(() => node.runtime.count('runPodSandbox') > 2);
    await node.clock.advance(2_000);
    assert.equal(node.runtime.count('runPodSandbox'), 3);
    assert.deepEqual(node.runtime.running(), ['main', 'main']);
  });

  it('an agent that ended before it made them anew: the next one does, though it hears of the network first', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    await settle();
    const [old] = [...node.runtime.sandboxes.keys()];
    const started = node.kill();
    node.manager.subnetChanged(() => node.runtime.count('runPodSandbox') > 1);
    await started;
    await node.clock.advance(2_000);
    assert.ok(old !== undefined && node.runtime.sandboxes.get(old)?.ready !== true);
    assert.deepEqual(node.runtime.running(), ['main']);
  });
});

describe('leftovers', () => {
  it('of unknown pods are removed, but not before all pods are known', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(makePod('a'));
    node.api.put(makePod('b'));
    await settle();
    const b = node.api.get('b');
    assert.ok(b);
    await node.manager.stop();
    node.api.pods.delete('default/b');
    node.api.synced = false;
    await node.restart();
    await node.clock.advance(60_000);
    assert.equal(node.runtime.running().length, 2);
    node.api.setSynced();
    await node.clock.advance(10_000);
    assert.equal(node.runtime.running().length, 1);
    assert.equal(node.runtime.sandboxes.size, 1);
    assert.ok(node.materials.released.includes(b.metadata.uid as string));
    assert.equal(node.manager.status().orphans, 0);
  });

  it('a leftover that can not be removed keeps no other from being removed', async () => {
    const node = new FakeNode();
    const released: string[] = [];
    node.materials.leftOver.push('still-mounted', 'removable');
    node.materials.release = async (uid) => {
      if (uid === 'still-mounted') throw new Error('target is busy');
      released.push(uid);
    };
    await node.start();
    await node.clock.advance(1_000);
    assert.deepEqual(released, ['removable']);
  });

  it('40 pods of one image ask for it once', async () => {
    const node = new FakeNode();
    await node.start();
    for (let i = 0; i < 40; i++) node.api.put(makePod(`p${i}`));
    await node.clock.advance(1_000);
    assert.equal(node.runtime.running().length, 40);
    assert.equal(node.images.calls.length, 1);
  });
});

describe('changes of a running pod', () => {
  it('a new image restarts that container only', async () => {
    const node = new FakeNode();
    node.images.present.add('busybox:2');
    await node.start();
    const image = 'busybox:1';
    const pod = makePod('a', {
      containers: [
        { name: 'main', image },
        { name: 'other', image },
      ],
    });
    node.api.put(pod);
    await settle();
    const other = node.runtime.byName('other')?.id;
    const changed = structuredClone(pod);
    (changed.spec.containers[0] as { image: string }).image = 'busybox:2';
    node.api.put(changed);
    await node.clock.advance(1_000);
    assert.equal(node.runtime.byName('main')?.config.image.userSpecifiedImage, 'busybox:2');
    assert.equal(node.runtime.byName('other')?.id, other);
    assert.ok(node.recorder.events.some((e) => e.message === 'Container main definition changed, will be restarted'));
  });

  it('new labels reach the volumes, also if the first try fails', async () => {
    const node = new FakeNode();
    const seen: unknown[] = [];
    let broken = false;
    node.materials.volumes = (pod) => {
      seen.push(pod.metadata.labels?.a);
      return broken ? 'not now' : undefined;
    };
    await node.start();
    const pod = makePod('a');
    node.api.put(pod);
    await settle();
    broken = true;
    node.api.put({ ...pod, metadata: { ...pod.metadata, labels: { a: '1' } } });
    await settle();
    broken = false;
    await node.clock.advance(5_000);
    assert.deepEqual(seen, [undefined, '1', '1']);
    assert.equal(node.runtime.count('startContainer'), 1);
  });

  it('an ephemeral container is started once and never again', async () => {
    const node = new FakeNode();
    await node.start();
    const pod = makePod('a');
    node.api.put(pod);
    await settle();
    const debug = structuredClone(pod);
    Object.assign(debug.spec, { ephemeralContainers: [{ name: 'debug', image: 'busybox:1' }] });
    node.api.put(debug);
    await settle();
    assert.deepEqual(node.runtime.running(), ['debug', 'main']);
    node.runtime.exit(node.runtime.byName('debug')?.id as string, 0);
    await node.clock.advance(400_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.equal(node.api.get('a')?.status?.ephemeralContainerStatuses?.[0]?.state?.terminated?.exitCode, 0);
  });
});
