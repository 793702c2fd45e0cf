import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Pod } from '../../../../src/kube/index.ts';
import { newMemory, type PodMemory } from '../../../../src/kubelet/pods/memory.ts';
import {
  containersOf,
  isAlive,
  type ObservedContainer,
  type ObservedSandbox,
} from '../../../../src/kubelet/pods/model.ts';
import { planPod } from '../../../../src/kubelet/pods/plan.ts';
import { type Ending, type Step, stepKey } from '../../../../src/kubelet/pods/plan-types.ts';
import { computePodStatus } from '../../../../src/kubelet/pods/status/status.ts';
import { podFault, withSoundStatus } from '../../../../src/kubelet/pods/validate.ts';

const NAMES = ['i1', 'i2', 's1', 's2', 'a1', 'a2', 'e1'];
const runs = (numRuns: number) => ({ numRuns, endOnFailure: true });

const policy = fc.constantFrom('Always', 'OnFailure', 'Never', undefined, 'nonsense');
const containerSpec = (name: string) =>
  fc.record(
    {
      name: fc.constant(name),
      image: fc.constantFrom('x:1', 'y:2'),
      restartPolicy: name.startsWith('s') ? fc.constant('Always') : fc.constantFrom(undefined, 'Never', 'OnFailure'),
      restartPolicyRules: fc.constantFrom(undefined, [], 'x', [
        { action: 'Restart', exitCodes: { operator: 'In', values: [3] } },
      ]),
    },
    { requiredKeys: ['name', 'image'] },
  );
const subset = (prefix: string) =>
  fc
    .subarray(NAMES.filter((n) => prefix.includes(n[0] as string)))
    .chain((names) => fc.tuple(...names.map(containerSpec)) as fc.Arbitrary<object[]>);

const pod = fc
  .record({
    restartPolicy: policy,
    initContainers: subset('is'),
    containers: subset('a').filter((list) => list.length > 0),
    ephemeralContainers: subset('e'),
    activeDeadlineSeconds: fc.constantFrom(undefined, 5, 0, -1, Number.NaN),
    terminationGracePeriodSeconds: fc.constantFrom(undefined, 0, 30, -5, Number.POSITIVE_INFINITY),
    hostNetwork: fc.constantFrom(undefined, true),
  })
  .map((spec): Pod => ({ metadata: { uid: 'u', name: 'p', namespace: 'n' }, spec }) as unknown as Pod);

const sandbox = fc.record({
  id: fc.constantFrom('S0', 'S1', 'S2'),
  attempt: fc.nat(3),
  ready: fc.boolean(),
  createdAt: fc.nat(1000),
  ips: fc.constantFrom([], ['10.0.0.1']),
  hostNetwork: fc.boolean(),
  stale: fc.boolean(),
});
const observed = fc.record({
  id: fc.constantFrom(...Array.from({ length: 12 }, (_, i) => `C${i}`)),
  name: fc.constantFrom(...NAMES, 'stranger'),
  attempt: fc.nat(5),
  sandboxId: fc.constantFrom('S0', 'S1', 'S2', 'gone'),
  state: fc.constantFrom('created', 'running', 'exited', 'unknown'),
  hash: fc.constantFrom(undefined, 'x:1', 'y:2'),
  createdAt: fc.nat(1000),
  startedAt: fc.nat(1000),
  finishedAt: fc.nat(1000),
  exitedAt: fc.integer({ min: -1000, max: 1_000_000 }),
  exitCode: fc.constantFrom(0, 1, 3, 137, -1),
  reason: fc.constantFrom('', 'Error'),
  message: fc.constant(''),
  image: fc.constant('x:1'),
  imageRef: fc.constant(''),
  logPath: fc.constant(''),
  annotations: fc.constant({}),
  cutOff: fc.constantFrom(false, false, false, true),
}) as fc.Arbitrary<ObservedContainer>;

const memory = fc
  .record({
    admitted: fc.boolean(),
    finished: fc.boolean(),
    tornDown: fc.boolean(),
    volumes: fc.constantFrom({ state: 'absent' }, { state: 'failed' }, { state: 'ready', volumes: new Map() }),
    failure: fc.constantFrom(undefined, undefined, { reason: 'Evicted', message: '', rejected: false }),
  })
  .map((over): PodMemory => ({ ...newMemory(0, 0), ...(over as Partial<PodMemory>) }));
const ending = fc.constantFrom<Ending | undefined>(
  undefined,
  { deadline: 2_000_000, confirm: true, gone: false },
  { deadline: 0, confirm: false, gone: true },
);

describe('the planner', () => {
  it('never throws, never names a step twice, starts nothing of a pod that ends', () => {
    fc.assert(
      fc.property(
        pod,
        fc.uniqueArray(sandbox, { selector: (s) => s.id }),
        fc.uniqueArray(observed, { selector: (c) => c.id, maxLength: 12 }),
        memory,
        ending,
        (pod, sandboxes, containers, memory, ending) => {
          const view = { sandboxes: sandboxes as ObservedSandbox[], containers };
          const plan = planPod({
            pod,
            view,
            memory,
            inFlight: new Set(),
            ending,
            hashOf: (c) => c.image ?? '',
            now: 1_000_000,
          });
          const keys = plan.steps.map(stepKey);
          assert.equal(new Set(keys).size, keys.length, keys.join());
          const starts = plan.steps.filter((s) => s.do === 'startContainer' || s.do === 'createSandbox');
          if (ending || memory.finished || memory.failure || plan.failure) assert.deepEqual(starts, []);
          for (const step of plan.steps) {
            if (step.do === 'removeContainer')
              assert.equal(isAlive(containers.find((c) => c.id === step.id) as ObservedContainer), false);
            if (step.do === 'tearDown')
              assert.equal(containers.some(isAlive), false, 'volumes in use are not unmounted');
            if (step.do === 'confirmGone')
              assert.equal(sandboxes.some((s) => s.ready) || containers.some(isAlive), false);
          }
          if (plan.wakeAt !== undefined) assert.ok(plan.wakeAt > 1_000_000);
          for (const serverMinor of [21, 36])
            computePodStatus({
              pod,
              view,
              memory,
              ending: ending !== undefined,
              hostIps: ['1.2.3.4'],
              serverMinor,
              runtimeName: 'c',
              now: 0,
            });
        },
      ),
      runs(10_000),
    );
  });

  it('comes to rest: from any state, done what it says, it ends with nothing left to do', () => {
    fc.assert(
      fc.property(
        pod,
        fc.uniqueArray(sandbox, { selector: (s) => s.id }),
        fc.uniqueArray(observed, { selector: (c) => c.id, maxLength: 8 }),
        ending,
        fc.infiniteStream(fc.constantFrom(0, 0, 1)),
        (pod, sandboxes, containers, ending, exits) => {
          const world = new World(pod, sandboxes as ObservedSandbox[], containers, ending);
          world.memory.volumes = { state: 'ready', volumes: new Map() };
          for (let i = 0; i < 200; i++) {
            const plan = world.plan();
            if (plan.done) break;
            if (plan.failure) world.memory.failure = plan.failure;
            if (plan.finished && !ending) world.memory.finished = true;
            for (const step of plan.steps) world.perform(step);
            if (plan.steps.length > 0 || plan.failure) continue;
            if (plan.wakeAt !== undefined && plan.wakeAt < world.now + 3_600_000 && i < 100) {
              world.now = plan.wakeAt;
              continue;
            }
            // At rest: init containers end at some time, others go on.
            const init = world.containers.find(
              (c) =>
                c.state === 'running' && containersOf(pod).some((s) => s.kind === 'init' && s.spec.name === c.name),
            );
            if (!init || i > 150) break;
            Object.assign(init, { state: 'exited', exitCode: exits.next().value, exitedAt: world.now });
          }
          const last = world.plan();
          const mayCrash = containersOf(pod).some((c) => c.kind === 'init');
          const pending = last.steps.filter((s) => s.do !== 'pullImage');
          assert.ok(pending.length === 0 || mayCrash, JSON.stringify(pending));
          if (ending) {
            assert.equal(last.done, true);
            assert.deepEqual([world.sandboxes.length, world.containers.length], [0, 0]);
          }
          assert.ok(world.containers.length <= 60, 'dead containers do not pile up');
          for (const name of NAMES)
            assert.ok(
              world.containers.filter((c) => c.name === name && c.state === 'running').length <= 1,
              'none twice',
            );
        },
      ),
      runs(1_000),
    );
  });
});

/** A runtime that does at once what is asked. */
class World {
  readonly memory = newMemory(0, 0);
  now = 1_000_000;
  readonly pod: Pod;
  sandboxes: ObservedSandbox[];
  containers: ObservedContainer[];
  ending: Ending | undefined;
  #count = 0;

  constructor(pod: Pod, sandboxes: ObservedSandbox[], containers: ObservedContainer[], ending: Ending | undefined) {
    this.pod = pod;
    this.ending = ending && { ...ending };
    this.sandboxes = sandboxes.map((s) => ({ ...s }));
    // A runtime has at most one running container of a name; what is in no sandbox is gone with it.
    const running = new Set<string>();
    this.containers = containers
      .map((c) => ({ ...c }))
      .filter((c) => c.name !== 'stranger' && sandboxes.some((s) => s.id === c.sandboxId))
      .filter((c) => c.state === 'exited' || (!running.has(c.name) && running.add(c.name)));
    this.memory.admitted = true;
  }

  plan() {
    const newest = <T extends { createdAt: number }>(list: T[]): T[] =>
      [...list].sort((a, b) => b.createdAt - a.createdAt);
    const view = { sandboxes: newest(this.sandboxes), containers: newest(this.containers) };
    for (const c of view.containers)
      if (c.state === 'running' && !this.memory.health.has(c.id))
        this.memory.health.set(c.id, { started: true, ready: true });
    return planPod({
      pod: this.pod,
      view,
      memory: this.memory,
      inFlight: new Set(),
      ending: this.ending,
      hashOf: (c) => c.image ?? '',
      now: this.now,
    });
  }

  perform(step: Step): void {
    const at = 10_000 + this.#count++;
    switch (step.do) {
      case 'prepareVolumes':
        this.memory.volumes = { state: 'ready', volumes: new Map() };
        return;
      case 'pullImage':
        this.memory.images.set(step.container, { ref: 'x' });
        return;
      case 'createSandbox':
        this.sandboxes.push({
          id: `N${at}`,
          attempt: step.attempt,
          ready: true,
          createdAt: at,
          ips: ['10.0.0.9'],
          hostNetwork: this.pod.spec.hostNetwork === true,
          stale: false,
        });
        return;
      case 'stopSandbox':
        for (const s of this.sandboxes) if (s.id === step.id) s.ready = false;
        return;
      case 'removeSandbox':
        this.sandboxes = this.sandboxes.filter((s) => s.id !== step.id);
        this.containers = this.containers.filter((c) => c.sandboxId !== step.id);
        return;
      case 'startContainer': {
        const made = this.containers.find((c) => c.id === step.existing);
        const image = containersOf(this.pod).find((c) => c.spec.name === step.container)?.spec.image;
        if (made) made.state = 'running';
        else
          this.containers.push({
            ...(this.containers[0] ?? ({} as ObservedContainer)),
            id: `N${at}`,
            name: step.container,
            attempt: step.attempt,
            sandboxId: step.sandboxId,
            state: 'running',
            hash: image,
            createdAt: at,
          });
        this.memory.images.delete(step.container);
        return;
      }
      case 'killContainer':
        for (const c of this.containers)
          if (c.id === step.id) Object.assign(c, { state: 'exited', exitCode: 143, exitedAt: this.now });
        return;
      case 'preStop':
        this.memory.preStopped.add(step.id);
        return;
      case 'resize':
        return;
      case 'removeContainer':
        this.containers = this.containers.filter((c) => c.id !== step.id);
        return;
      case 'tearDown':
        this.memory.tornDown = true;
        return;
      case 'confirmGone':
        if (this.ending) this.ending.gone = true;
        return;
      default:
        step satisfies never;
    }
  }
}

describe('hostile objects', () => {
  it('are told from pods without a throw; what passes can be planned and shown', () => {
    const anything = fc.anything({ maxDepth: 4, withNullPrototype: true });
    const half = fc.record(
      {
        metadata: fc.oneof(anything, fc.constant({ uid: 'u', name: 'p', namespace: 'n' })),
        spec: fc.oneof(
          anything,
          fc.record({
            containers: fc.oneof(
              anything,
              fc.array(
                fc.record({
                  name: fc.constantFrom('a', 'b'),
                  image: anything,
                  resources: anything,
                  env: anything,
                  volumeMounts: anything,
                  ports: anything,
                  lifecycle: anything,
                  livenessProbe: anything,
                  restartPolicyRules: anything,
                }),
              ),
              fc.constant([{ name: 'a', image: 'x' }]),
            ),
            restartPolicy: anything,
            activeDeadlineSeconds: anything,
            terminationGracePeriodSeconds: anything,
            readinessGates: fc.oneof(fc.constant(undefined), fc.array(anything)),
          }),
        ),
        status: fc.oneof(
          fc.constant(undefined),
          anything,
          fc.record({
            conditions: anything,
            containerStatuses: anything,
            podIPs: anything,
            phase: anything,
            startTime: anything,
          }),
        ),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(half, (raw) => {
        if (podFault(raw) !== undefined) return;
        const pod = withSoundStatus(raw as unknown as Pod);
        const memory = { ...newMemory(0, 0), admitted: true };
        const view = { sandboxes: [], containers: [] };
        planPod({ pod, view, memory, inFlight: new Set(), ending: undefined, hashOf: () => '', now: 1 });
        computePodStatus({ pod, view, memory, ending: false, hostIps: [], serverMinor: 36, runtimeName: 'c', now: 0 });
      }),
      runs(10_000),
    );
  });
});
