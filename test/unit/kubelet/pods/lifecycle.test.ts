import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const image = 'busybox:1';
const statusOf = (node: FakeNode, name: string) => node.api.get(name)?.status;
const container = (node: FakeNode, pod: string, name = 'main') =>
  [...(statusOf(node, pod)?.initContainerStatuses ?? []), ...(statusOf(node, pod)?.containerStatuses ?? [])].find(
    (s) => s.name === name,
  );
const exit = (node: FakeNode, name: string, code: number) =>
  node.runtime.exit(node.runtime.byName(name)?.id ?? '', code);
const texts = (node: FakeNode, pod: string) =>
  node.recorder.events.filter((e) => e.name === pod).map((e) => `${e.reason} ${e.message}`);

async function started(pods: Pod[], set: (node: FakeNode) => void = () => {}): Promise<FakeNode> {
  const node = new FakeNode();
  set(node);
  await node.start();
  for (const pod of pods) node.api.put(pod);
  await settle();
  return node;
}

describe('the end of a container', () => {
  it('leaves it two seconds at least, also if the pod has none to give', async () => {
    const node = await started([makePod('a')], ({ runtime }) => {
      runtime.onTerm = () => 'ignore';
    });
    node.api.markDeleted('a', 0);
    await node.clock.advance(1_900);
    assert.deepEqual(node.runtime.running(), ['main']);
    await node.clock.advance(200);
    assert.deepEqual(node.runtime.running(), []);
  });

  it('preStop hooks of all begin at once, sidecars get TERM after the others, last first', async () => {
    const sleep = (seconds: number) => ({ preStop: { sleep: { seconds } } });
    const pod = makePod('s', {
      initContainers: [
        { name: 'side1', image, restartPolicy: 'Always', lifecycle: sleep(4) },
        { name: 'side2', image, restartPolicy: 'Always', lifecycle: sleep(4) },
      ],
      containers: [{ name: 'main', image, lifecycle: sleep(4) }],
    } as Partial<Pod['spec']>);
    const node = await started([pod]);
    const stops: string[] = [];
    const began = node.clock.monotonic();
    node.runtime.intercept = (call, name) => {
      if (call === 'stopContainer') stops.push(`${name} ${Math.round((node.clock.monotonic() - began) / 1000)}`);
    };
    node.api.markDeleted('s', 30);
    await node.clock.advance(3_000);
    assert.equal(texts(node, 's').filter((t) => t.startsWith('Killing')).length, 3);
    assert.deepEqual(stops, []);
    await node.clock.advance(3_000);
    assert.deepEqual(stops, ['main 4', 'side2 4', 'side1 4']);
  });

  it('sidecars are stopped at the deadline though another container is still there', async () => {
    const pod = makePod('s', {
      initContainers: [{ name: 'side', image, restartPolicy: 'Always' }],
      containers: [{ name: 'main', image }],
    });
    const node = await started([pod]);
    // As with a process in the middle of an uninterruptible write.
    node.runtime.intercept = (call, name) =>
      call === 'stopContainer' && name === 'main' ? new Promise<void>(() => {}) : undefined;
    node.api.markDeleted('s', 5);
    await node.clock.advance(4_000);
    assert.deepEqual(node.runtime.running(), ['main', 'side']);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), ['main']);
  });

  it('a probe may ask for a grace of its own, and says what failed in the words of the original', async () => {
    const probe = { exec: { command: ['x'] }, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 5 };
    const node = await started(
      [
        makePod('l', {
          terminationGracePeriodSeconds: 500,
          containers: [{ name: 'main', image, livenessProbe: probe }],
        }),
        makePod('n', {
          restartPolicy: 'Never',
          containers: [{ name: 'once', image, livenessProbe: { ...probe, terminationGracePeriodSeconds: 3 } }],
        }),
        makePod('i', {
          initContainers: [{ name: 'side', image, restartPolicy: 'Always', startupProbe: probe }],
          containers: [{ name: 'app', image }],
        }),
      ],
      ({ runtime }) => {
        runtime.onTerm = () => 'ignore';
        runtime.execExit = 1;
      },
    );
    await node.clock.advance(4_500);
    assert.ok(texts(node, 'l').includes('Killing Container main failed liveness probe, will be restarted'));
    assert.ok(texts(node, 'n').includes('Killing Container once failed liveness probe'));
    assert.ok(texts(node, 'i').includes('Killing Init container side failed startup probe'));
    assert.equal(node.runtime.byName('main')?.state, 'CONTAINER_RUNNING');
    assert.equal(statusOf(node, 'n')?.phase, 'Failed');
    node.runtime.execExit = 0;
    await node.clock.advance(3_000);
    assert.equal(container(node, 'l')?.restartCount, 1);
    assert.equal(container(node, 'l')?.lastState?.terminated?.exitCode, 137);
  });

  it('liveness and startup are asked no more once the pod is deleted, readiness is', async () => {
    const probe = { exec: { command: ['x'] }, periodSeconds: 1, failureThreshold: 1 };
    const node = await started(
      [makePod('d', { containers: [{ name: 'main', image, livenessProbe: probe, readinessProbe: probe }] })],
      ({ runtime }) => {
        runtime.onTerm = () => 'ignore';
      },
    );
    await node.clock.advance(2_000);
    node.runtime.execExit = 1;
    node.api.markDeleted('d', 20);
    await node.clock.advance(10_000);
    const said = texts(node, 'd');
    assert.ok(said.includes('Unhealthy Readiness probe failed: '));
    assert.equal(
      said.some((t) => /iveness/.test(t)),
      false,
    );
    assert.equal(statusOf(node, 'd')?.conditions?.find((c) => c.type === 'Ready')?.status, 'False');
  });
});

describe('hooks', () => {
  it('what they print is for the status, not for the event', async () => {
    const hook = { exec: { command: ['/bin/sh', '-c', 'fail'] } };
    const node = await started(
      [makePod('h', { containers: [{ name: 'main', image, lifecycle: { postStart: hook, preStop: hook } }] })],
      ({ runtime }) => {
        runtime.execExit = 7;
      },
    );
    await node.clock.advance(2_000);
    const said = texts(node, 'h');
    assert.ok(said.includes('FailedPostStartHook PostStartHook failed'));
    assert.ok(said.includes('Killing FailedPostStartHook'));
    assert.ok(said.includes('FailedPreStopHook PreStopHook failed'));
    const { waiting } = container(node, 'h')?.state ?? {};
    const uid = node.api.get('h')?.metadata.uid;
    if (waiting?.reason === 'PostStartHookError')
      assert.equal(
        waiting.message,
        `Exec lifecycle hook ([/bin/sh -c fail]) for Container "main" in Pod "h_default(${uid})" failed - error: command '/bin/sh -c fail' exited with 7: , message: ""`,
      );
    else assert.equal(waiting?.reason, 'CrashLoopBackOff');
  });

  it('a hook that outlasts the grace is no event, the container goes', async () => {
    const lifecycle = { preStop: { sleep: { seconds: 100 } } };
    const node = await started([makePod('h', { containers: [{ name: 'main', image, lifecycle }] })]);
    node.api.markDeleted('h', 3);
    await node.clock.advance(3_500);
    assert.equal(node.api.get('h'), undefined);
    assert.equal(
      texts(node, 'h').some((t) => t.startsWith('FailedPreStopHook')),
      false,
    );
  });
});

describe('all containers at once', () => {
  const rule = (action: string) => [{ action, exitCodes: { operator: 'In', values: [42] } }];
  const pod = () =>
    makePod('r', {
      restartPolicy: 'Never',
      initContainers: [{ name: 'init', image }],
      containers: [
        { name: 'main', image, restartPolicy: 'Never', restartPolicyRules: rule('RestartAllContainers') },
        { name: 'other', image },
      ],
    } as Partial<Pod['spec']>);

  it('are ended, removed and begun anew with the init containers, in the same sandbox', async () => {
    const node = await started([pod()]);
    exit(node, 'init', 0);
    await settle();
    const condition = () => statusOf(node, 'r')?.conditions?.find((c) => c.type === 'AllContainersRestarting');
    assert.equal(condition()?.status, 'False');
    const phases = new Set<string | undefined>();
    node.runtime.intercept = (call) => {
      if (call === 'removeContainer') phases.add(statusOf(node, 'r')?.phase);
    };
    exit(node, 'main', 42);
    await node.clock.advance(4_000);
    assert.deepEqual(node.runtime.running(), ['init']);
    assert.deepEqual([...phases], ['Running']);
    assert.equal(container(node, 'r', 'init')?.restartCount, 1);
    assert.equal(container(node, 'r', 'other')?.state?.waiting?.reason, 'PodInitializing');
    exit(node, 'init', 0);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), ['main', 'other']);
    for (const name of ['init', 'main', 'other']) {
      const status = container(node, 'r', name);
      assert.equal(status?.restartCount, 1, name);
      assert.deepEqual(
        [status?.lastState?.terminated?.reason, status?.lastState?.terminated?.exitCode],
        ['RestartingAllContainers', 137],
        name,
      );
    }
    assert.equal(condition()?.status, 'False');
    assert.equal(statusOf(node, 'r')?.phase, 'Running');
    assert.equal(node.runtime.count('runPodSandbox'), 1);
    assert.equal(statusOf(node, 'r')?.conditions?.find((c) => c.type === 'Initialized')?.status, 'True');
    exit(node, 'main', 1);
    exit(node, 'other', 0);
    await node.clock.advance(2_000);
    assert.equal(statusOf(node, 'r')?.phase, 'Failed', 'no rule speaks of this exit');
  });

  it('an agent killed in between goes on with it', async () => {
    const node = await started([pod()]);
    exit(node, 'init', 0);
    await settle();
    let removed = 0;
    node.runtime.intercept = (call) => {
      if (call === 'removeContainer' && removed++ > 0)
        throw new AgentError({ code: 'CRI_UNAVAILABLE', message: 'away' });
    };
    exit(node, 'main', 42);
    await node.clock.advance(3_000);
    node.runtime.intercept = () => {};
    await node.restart();
    await node.clock.advance(10_000);
    assert.deepEqual(node.runtime.running(), ['init']);
    exit(node, 'init', 0);
    await node.clock.advance(2_000);
    assert.deepEqual(node.runtime.running(), ['main', 'other']);
    assert.equal(container(node, 'r', 'main')?.restartCount, 1);
  });
});

describe('the last word about a pod', () => {
  it('deleted before it could start: Failed, its containers unknown', async () => {
    const node = await started([makePod('p')], ({ materials }) => {
      materials.volumes = () => 'not there';
    });
    const patches = () => node.api.writes.filter(({ verb }) => verb === 'patch');
    node.api.markDeleted('p', 5);
    await node.clock.advance(2_000);
    assert.equal(node.api.get('p'), undefined);
    const last = JSON.stringify(patches().at(-1)?.body);
    assert.match(last, /"phase":"Failed"/);
    assert.match(last, /"ContainerStatusUnknown"/);
  });

  it('is not said while a debugger or a slow container is still at work', async () => {
    const debug = makePod('e', { restartPolicy: 'Never' });
    Object.assign(debug.spec, { ephemeralContainers: [{ name: 'debug', image }] });
    const node = await started(
      [debug, makePod('d', { activeDeadlineSeconds: 5, terminationGracePeriodSeconds: 10 })],
      ({ runtime }) => {
        runtime.onTerm = () => 'ignore';
      },
    );
    await node.clock.advance(6_000);
    assert.equal(statusOf(node, 'd')?.phase, 'Running');
    assert.deepEqual(
      statusOf(node, 'd')
        ?.conditions?.filter((c) => c.type === 'Ready')
        .map((c) => [c.status, c.reason]),
      [['False', 'PodFailed']],
    );
    await node.clock.advance(10_000);
    assert.deepEqual([statusOf(node, 'd')?.phase, statusOf(node, 'd')?.reason], ['Failed', 'DeadlineExceeded']);
  });

  it('containers the runtime lost come back counted, with what is known of their end', async () => {
    const node = await started([makePod('a')]);
    await node.manager.stop();
    node.runtime.containers.clear();
    node.runtime.sandboxes.clear();
    await node.restart();
    await node.clock.advance(3_000);
    assert.deepEqual(node.runtime.running(), ['main']);
    const status = container(node, 'a');
    assert.equal(status?.restartCount, 1);
    assert.equal(status?.lastState?.terminated?.reason, 'ContainerStatusUnknown');
    assert.equal(node.runtime.byName('main')?.config.metadata.attempt, 1, 'its log is another file');
  });

  it('messages of many containers share 12 KiB', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const node = await started(
      [makePod('m', { restartPolicy: 'Never', containers: names.map((name) => ({ name, image })) })],
      ({ runtime }) => {
        runtime.message = 'é'.repeat(4_000);
        runtime.intercept = (call) => {
          if (call === 'startContainer') throw new AgentError({ code: 'CRI_UNKNOWN', message: 'x' });
        };
      },
    );
    await node.clock.advance(3_000);
    const messages = statusOf(node, 'm')?.containerStatuses?.map((s) => s.state?.terminated?.message ?? '');
    assert.deepEqual(
      messages?.map((m) => Buffer.byteLength(m)),
      [3072, 3072, 3072, 3072],
    );
  });
});

describe('a debugger', () => {
  it('whose target is not there is not started', async () => {
    const pod = makePod('e');
    Object.assign(pod.spec, { ephemeralContainers: [{ name: 'debug', image, targetContainerName: 'none' }] });
    const node = await started([pod]);
    await node.clock.advance(1_500);
    assert.deepEqual(node.runtime.running(), ['main']);
    assert.ok(texts(node, 'e').includes('Failed Error: unable to find target container none'));
  });
});
