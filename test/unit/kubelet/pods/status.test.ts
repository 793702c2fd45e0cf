import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod, PodStatus } from '../../../../src/kube/index.ts';
import { newMemory, type PodMemory } from '../../../../src/kubelet/pods/memory.ts';
import { emptyView, type ObservedContainer, type PodView } from '../../../../src/kubelet/pods/model.ts';
import { statusPatch } from '../../../../src/kubelet/pods/status/patch.ts';
import { computePodStatus } from '../../../../src/kubelet/pods/status/status.ts';
import { makePod } from '../../../fakes/pods.ts';

const T0 = Date.parse('2026-11-23T10:24:20Z');
const IMAGE = 'docker.io/library/busybox:latest';
const ID = 'a'.repeat(64);

interface Options {
  view?: PodView;
  memory?: Partial<PodMemory>;
  now?: number;
  serverMinor?: number;
  ending?: boolean;
}

function status(pod: Pod, { view = emptyView, memory = {}, now = T0, serverMinor = 36, ending = false }: Options = {}) {
  return computePodStatus({
    pod,
    view,
    memory: { ...newMemory(T0, 0), admitted: true, ...memory },
    ending,
    hostIps: ['10.99.0.2'],
    serverMinor,
    runtimeName: 'containerd',
    now,
  });
}

function container(name: string, over: Partial<ObservedContainer> = {}): ObservedContainer {
  return {
    id: ID,
    name,
    attempt: 0,
    sandboxId: 's',
    state: 'running',
    hash: undefined,
    createdAt: T0 + 1000,
    startedAt: T0 + 2000,
    finishedAt: 0,
    exitedAt: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: IMAGE,
    imageRef: 'docker.io/library/busybox@sha256:ea60',
    logPath: '',
    annotations: {},
    cutOff: false,
    user: { linux: { uid: 0, gid: 0, supplementalGroups: [0] } },
    ...over,
  };
}

const viewOf = (containers: ObservedContainer[], ready = true): PodView => ({
  sandboxes: [{ id: 's', attempt: 0, ready, createdAt: T0, ips: ['10.42.0.59'], hostNetwork: false, stale: false }],
  containers,
});
const healthy = (started = true, ready = true) => new Map([[ID, { started, ready }]]);
const brief = (s: PodStatus) =>
  (s.conditions ?? []).map((c) => [c.type, c.status, c.reason, c.message].filter((x) => x !== undefined).join(' '));

describe('a pod status is what the original writes', () => {
  const mounts = [
    { name: 'v', mountPath: '/v' },
    { name: 'kube-api-access-x', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
  ];
  const withMounts = (spec: Partial<Pod['spec']> = {}) =>
    makePod('p', { containers: [{ name: 'main', image: IMAGE, volumeMounts: mounts }], ...spec });

  it('before anything is there', () => {
    assert.deepEqual(status(withMounts()), {
      observedGeneration: 1,
      qosClass: 'BestEffort',
      startTime: '2026-11-23T10:24:20Z',
      phase: 'Pending',
      conditions: [
        ['PodReadyToStartContainers', 'False'],
        ['Initialized', 'True'],
        ['Ready', 'False'],
        ['ContainersReady', 'False'],
        ['PodScheduled', 'True'],
      ].map(([type, value]) => ({
        type,
        status: value,
        lastProbeTime: null,
        lastTransitionTime: '2026-11-23T10:24:20Z',
        ...(type === 'Ready' || type === 'ContainersReady'
          ? { reason: 'ContainersNotReady', message: 'containers with unready status: [main]' }
          : {}),
        observedGeneration: 1,
      })),
      hostIP: '10.99.0.2',
      hostIPs: [{ ip: '10.99.0.2' }],
      containerStatuses: [
        {
          name: 'main',
          image: IMAGE,
          imageID: '',
          restartCount: 0,
          ready: false,
          started: false,
          state: { waiting: { reason: 'ContainerCreating' } },
          lastState: {},
          volumeMounts: [
            { name: 'v', mountPath: '/v' },
            {
              name: 'kube-api-access-x',
              mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
              readOnly: true,
              recursiveReadOnly: 'Disabled',
            },
          ],
        },
      ],
      resources: {},
    });
  });

  it('running', () => {
    const resources = { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } };
    const pod = makePod('running', { containers: [{ name: 'main', image: IMAGE, resources }] });
    const s = status(pod, { view: viewOf([container('main')]), memory: { health: healthy() } });
    assert.equal(s.phase, 'Running');
    assert.equal(s.qosClass, 'Burstable');
    assert.deepEqual(brief(s), [
      'PodReadyToStartContainers True',
      'Initialized True',
      'Ready True',
      'ContainersReady True',
      'PodScheduled True',
    ]);
    assert.deepEqual(s.podIPs, [{ ip: '10.42.0.59' }]);
    assert.deepEqual(s.containerStatuses, [
      {
        allocatedResources: { cpu: '10m', memory: '16Mi' },
        containerID: `containerd://${ID}`,
        image: IMAGE,
        imageID: 'docker.io/library/busybox@sha256:ea60',
        lastState: {},
        name: 'main',
        ready: true,
        resources,
        restartCount: 0,
        started: true,
        state: { running: { startedAt: '2026-11-23T10:24:22Z' } },
        user: { linux: { uid: 0, gid: 0, supplementalGroups: [0] } },
      },
    ]);
    assert.deepEqual((s as { allocatedResources?: object }).allocatedResources, { cpu: '10m', memory: '16Mi' });
  });

  it('completed, failed, and killed for memory', () => {
    const once = makePod('completed', { restartPolicy: 'Never', containers: [{ name: 'main', image: IMAGE }] });
    const ended = (exitCode: number, reason: string, message = '') =>
      status(once, {
        view: viewOf([container('main', { state: 'exited', finishedAt: T0 + 2000, exitCode, reason, message })], false),
        memory: { finished: true },
      });
    const done = ended(0, 'Completed', 'done\n');
    assert.deepEqual(
      [done.phase, ...brief(done)],
      [
        'Succeeded',
        'PodReadyToStartContainers False',
        'Initialized True PodCompleted',
        'Ready False PodCompleted',
        'ContainersReady False PodCompleted',
        'PodScheduled True',
      ],
    );
    assert.deepEqual(done.containerStatuses?.[0]?.state, {
      terminated: {
        containerID: `containerd://${ID}`,
        exitCode: 0,
        finishedAt: '2026-11-23T10:24:22Z',
        message: 'done\n',
        reason: 'Completed',
        startedAt: '2026-11-23T10:24:22Z',
      },
    });
    assert.equal(done.podIP, '10.42.0.59', 'the address stays');
    const oom = ended(137, 'OOMKilled');
    assert.deepEqual([oom.phase, brief(oom)[2]], ['Failed', 'Ready False PodFailed']);
  });

  it('rejected: no conditions, no containers', () => {
    const failure = { reason: 'NodeAffinity', message: 'Predicate NodeAffinity failed', rejected: true };
    assert.deepEqual(status(makePod('wrong-node'), { memory: { failure, finished: true } }), {
      observedGeneration: 1,
      qosClass: 'BestEffort',
      startTime: '2026-11-23T10:24:20Z',
      phase: 'Failed',
      reason: 'NodeAffinity',
      message: 'Pod was rejected: Predicate NodeAffinity failed',
    });
  });

  it('with init containers and a sidecar on the way', () => {
    const pod = makePod('watched', {
      initContainers: [
        { name: 'first', image: IMAGE },
        { name: 'side', image: IMAGE, restartPolicy: 'Always' },
      ],
      containers: [{ name: 'main', image: IMAGE }],
    });
    const none = status(pod);
    assert.deepEqual(brief(none).slice(1, 3), [
      'Initialized False ContainersNotInitialized containers with incomplete status: [first side]',
      'Ready False ContainersNotReady containers with unready status: [side main]',
    ]);
    assert.deepEqual(none.initContainerStatuses?.[0]?.state, { waiting: { reason: 'PodInitializing' } });
    const first = status(pod, { view: viewOf([container('first')]), memory: { health: healthy() } });
    assert.deepEqual(
      [first.phase, first.initContainerStatuses?.[0]?.started, first.initContainerStatuses?.[0]?.ready],
      ['Pending', true, false],
    );
    const over = container('first', {
      id: 'b',
      state: 'exited',
      exitCode: 0,
      reason: 'Completed',
      finishedAt: T0 + 3000,
    });
    const side = status(pod, { view: viewOf([container('side'), over]), memory: { health: healthy() } });
    assert.deepEqual(
      [side.phase, brief(side)[1], brief(side)[2]],
      ['Pending', 'Initialized True', 'Ready False ContainersNotReady containers with unready status: [main]'],
    );
    assert.equal(side.initContainerStatuses?.[0]?.ready, true);
  });

  it('keeps transition times while a condition stays as it is', () => {
    const pod = makePod('p');
    const before = status(pod);
    const later = status(pod, {
      view: viewOf([container('main')]),
      memory: { health: healthy(), status: before },
      now: T0 + 5000,
    });
    const times = Object.fromEntries((later.conditions ?? []).map((c) => [c.type, c.lastTransitionTime]));
    assert.equal(times.Initialized, '2026-11-23T10:24:20Z');
    assert.equal(times.Ready, '2026-11-23T10:24:25Z');
  });

  it('waits for readiness gates of others', () => {
    const pod = makePod('gated', { readinessGates: [{ conditionType: 'example.com/lb' }] });
    const facts = { view: viewOf([container('main')]), memory: { health: healthy() } };
    assert.equal(
      brief(status(pod, facts))[2],
      'Ready False ReadinessGatesNotReady corresponding condition of pod readiness gate "example.com/lb" does not exist.',
    );
    pod.status = { conditions: [{ type: 'example.com/lb', status: 'True' }] };
    assert.equal(brief(status(pod, facts))[2], 'Ready True');
  });

  it('leaves out what an old server does not know', () => {
    const s = status(withMounts(), {
      serverMinor: 21,
      view: viewOf([container('main')]),
      memory: { health: healthy() },
    });
    assert.equal(s.hostIPs, undefined);
    assert.equal(brief(s).length, 4);
    for (const field of ['resources', 'user', 'volumeMounts', 'allocatedResources'])
      assert.equal(field in (s.containerStatuses?.[0] ?? {}), false);
    assert.equal('resources' in s, false);
    const old = makePod('old', {}, { generation: undefined } as object);
    assert.equal('observedGeneration' in status(old, { serverMinor: 21 }), false);
  });

  it('a container that is gone from the runtime while its pod is deleted did not "never start"', () => {
    const pod = makePod('p');
    pod.status = status(pod, { view: viewOf([container('main')]), memory: { health: healthy() } });
    const s = status(pod, { ending: true });
    assert.equal(s.containerStatuses?.[0]?.lastState?.terminated?.reason, 'ContainerStatusUnknown');
    assert.equal(s.phase, 'Failed');
  });
});

describe('a status patch', () => {
  it('is nothing when nothing changed, whatever the order and the empties', () => {
    const s = status(makePod('p'));
    const server = JSON.parse(JSON.stringify(s)) as PodStatus;
    for (const c of server.conditions ?? []) delete (c as { lastProbeTime?: unknown }).lastProbeTime;
    assert.equal(statusPatch({ ...server, conditions: server.conditions?.reverse() ?? [] }, s), undefined);
  });

  it('names only what changed and removes what is gone', () => {
    const pod = makePod('p');
    const before = {
      ...status(pod, { view: viewOf([container('main')]), memory: { health: healthy() } }),
      message: 'x',
    };
    const after = status(pod, { view: viewOf([container('main')]), memory: { health: healthy(true, false) } });
    const patch = statusPatch(before, { ...after, podIP: '10.42.0.60', podIPs: [{ ip: '10.42.0.60' }] });
    assert.deepEqual(Object.keys(patch ?? {}).sort(), [
      'conditions',
      'containerStatuses',
      'message',
      'podIP',
      'podIPs',
    ]);
    assert.equal(patch?.message, null);
    assert.deepEqual(patch?.podIPs, [{ ip: '10.42.0.60' }, { $patch: 'delete', ip: '10.42.0.59' }]);
    assert.deepEqual(
      (patch?.conditions as { type: string }[]).map((c) => c.type),
      ['Ready', 'ContainersReady'],
    );
  });
});
