import { Coalescer, describeError, isAbort, type Logger } from '../../core/index.ts';
import type { Pod, PodStatus } from '../../kube/index.ts';
import { podLongName } from '../containers/spec.ts';
import { ImageError } from '../images/index.ts';
import { type ActionContext, perform } from './actions.ts';
import type { WorkerDeps } from './deps.ts';
import { isRuntimeAway, nextRetry } from './failures.ts';
import { graceSeconds } from './kill-cause.ts';
import { newMemory, type PodFailure, type PodMemory } from './memory.ts';
import { findContainer, type ObservedContainer, type PodView } from './model.ts';
import { planPod } from './plan.ts';
import { type Ending, type Plan, retryKey, type Step, stepKey } from './plan-types.ts';
import { noteHealth, probeTargets } from './probes/health.ts';
import { type PodReports, podReports } from './reports.ts';
import { followResize } from './resize/actuate.ts';
import { adoptAllocation, allocate } from './resize/allocate.ts';
import { goDuration } from './restart.ts';
import { computePodStatus } from './status/status.ts';
import { isUrgent } from './status/urgency.ts';

/** How long a change that nobody waits for waits for the next one. */
const LAZY_MS = 1_000;
const ENDING_MS = 5_000;
/** What a start that is under way gets when the agent stops. */
const FINISH_MS = 5_000;

/**
 * Looks after one pod: plans, performs what was planned, writes the status, and again after each happening. Steps run
 * side by side; none of them holds up the planning, and nothing of it is shared with other pods but the slots.
 */
export class PodWorker {
  readonly uid: string;
  readonly memory: PodMemory;
  readonly #deps: WorkerDeps;
  readonly #log: Logger;
  readonly #loop: Coalescer;
  readonly #abort = new AbortController();
  /** Of starts under way: a start that is cut off leaves a container that failed. */
  readonly #lateAbort = new AbortController();
  /** Of volumes being set up: who ends waits for none of them. */
  readonly #volumesAbort = new AbortController();
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #reports: PodReports;
  readonly #writesStatus: boolean;
  /** With the resources it may use. */
  #pod: Pod;
  /** With those it asks for. */
  #asked: Pod;
  #ending: Ending | undefined;
  #cancelTimer: (() => void) | undefined;
  #stopped = false;
  /** Containers that have a link among the logs: name by id. */
  readonly linked = new Map<string, string>();

  /** `writesStatus`: false for what is left of pods nobody knows any more. */
  constructor(deps: WorkerDeps, pod: Pod, writesStatus: boolean) {
    const { clock } = deps;
    this.#deps = deps;
    this.#asked = pod;
    this.#pod = pod;
    this.#writesStatus = writesStatus;
    this.uid = pod.metadata.uid as string;
    this.#log = deps.log.child({ pod: `${pod.metadata.namespace}/${pod.metadata.name}` });
    const began = Date.parse(pod.status?.startTime ?? '');
    const startTime = Number.isFinite(began) ? began : clock.now();
    this.memory = newMemory(startTime, clock.monotonic() - Math.max(0, clock.now() - startTime));
    const { phase, reason, message = '', containerStatuses } = pod.status ?? {};
    this.memory.finished = phase === 'Succeeded' || phase === 'Failed';
    // Rejected, evicted or too long at work before this agent was started: it stays that.
    if (phase === 'Failed' && reason !== undefined)
      this.memory.failure = {
        reason,
        message: message.replace(/^Pod was rejected: /, ''),
        rejected: containerStatuses === undefined || containerStatuses.length === 0,
      };
    this.#pod = adoptAllocation(pod, this.memory);
    this.#reports = podReports(deps.recorder, () => this.#pod);
    this.#loop = new Coalescer(async () => this.#round());
    this.#noteDeletion(pod);
  }

  get pod(): Pod {
    return this.#pod;
  }

  get ending(): boolean {
    return this.#ending !== undefined;
  }

  /** It has neither ended nor failed: what it was given is taken. */
  get active(): boolean {
    return !this.memory.finished && !this.memory.failure;
  }

  /** The latest computed status; the server's while there is none. */
  get status(): PodStatus | undefined {
    return this.memory.status ?? this.#pod.status;
  }

  poke(): void {
    if (!this.#stopped) this.#loop.poke();
  }

  /** A newer version of the object. */
  update(pod: Pod): void {
    this.#asked = pod;
    this.#allocate();
    this.#noteDeletion(pod);
    this.#deps.writer.observe(pod, this.#writesStatus ? this.memory.status : undefined);
    this.poke();
  }

  /** Others use less now: what the pod asked for in vain it may have. */
  retryResize(): void {
    // One that has ended is told of with every status of it: nothing it could get would be of use.
    if (this.memory.resize.pending?.reason !== 'Deferred' || this.memory.finished || this.#ending) return;
    this.#allocate();
    this.poke();
  }

  #allocate(): void {
    const { serverMinor, refuseResize: refuse } = this.#deps;
    const before = this.#pod;
    this.#pod = allocate(before, this.#asked, this.memory, { serverMinor, refuse, reports: this.#reports });
    if (projection(before) !== projection(this.#pod)) this.memory.volumesOutdated = true;
  }

  /** The pod is gone at its source, whether it ended here or not. */
  remove(pod: Pod): void {
    if (pod.metadata.deletionTimestamp !== undefined) this.#noteDeletion(pod);
    const grace = graceSeconds(pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds);
    this.#end({ deadline: this.#deps.clock.monotonic() + grace * 1000, confirm: false, gone: true });
  }

  /** Refused by the node. */
  reject(reason: string, message: string): void {
    this.memory.failure = { reason, message, rejected: true };
    this.memory.finished = true;
    this.#reports.pod('Warning', reason, message);
    this.poke();
  }

  /** Failed as a whole: what runs of it is ended, and it never starts again. */
  fail(failure: PodFailure): void {
    this.memory.failure = failure;
    if (this.#ending && failure.graceSeconds !== undefined)
      this.#end({ ...this.#ending, deadline: this.#deps.clock.monotonic() + failure.graceSeconds * 1000 });
    this.poke();
  }

  admit(): void {
    this.memory.admitted = true;
    this.poke();
  }

  /** The runtime is back: what failed because it was away is tried at once. */
  runtimeBack(): void {
    for (const [key, retry] of this.memory.retries) if (retry.runtimeAway) this.memory.retries.delete(key);
    this.poke();
  }

  /** Stops looking after the pod; its containers go on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#abort.abort();
    this.#deps.probes.forget(this.uid);
    const ended = Promise.allSettled(this.#inFlight.values());
    const cancel = this.#deps.clock.after(FINISH_MS, () => this.#lateAbort.abort());
    await ended;
    cancel();
  }

  /** Something the volumes waited for is there now: no need to sit out the pause. */
  volumesMayBeReady(): void {
    for (const step of ['prepareVolumes', 'tearDown'] as const) this.memory.retries.delete(retryKey({ do: step }));
    this.poke();
  }

  #noteDeletion(pod: Pod): void {
    if (pod.metadata.deletionTimestamp === undefined || pod.metadata.deletionTimestamp === null) return;
    const { metadata, spec } = pod;
    const grace = graceSeconds(metadata.deletionGracePeriodSeconds ?? spec.terminationGracePeriodSeconds);
    this.#end({ deadline: this.#deps.clock.monotonic() + grace * 1000, confirm: true, gone: false });
  }

  /** Deadlines only ever come nearer. */
  #end(ending: Ending): void {
    const before = this.#ending;
    this.#ending = {
      deadline: Math.min(ending.deadline, before?.deadline ?? Number.POSITIVE_INFINITY),
      confirm: ending.confirm && before?.confirm !== false,
      gone: ending.gone || before?.gone === true,
    };
    this.#volumesAbort.abort();
    this.poke();
  }

  #round(): void {
    if (this.#stopped || !this.#deps.view.synced) return;
    try {
      this.#settle();
    } catch (error) {
      // A defect of ours met by one odd pod must not spin or take others along.
      this.#log.error('a pod could not be planned', { error: describeError(error) });
      this.#wakeIn(30_000);
    }
  }

  #settle(): void {
    const view = this.#deps.view.get(this.uid);
    this.#prune(view);
    noteHealth(this.#pod, view, this.memory, (name) => this.#inFlight.has(`startContainer:${name}`));
    followResize(this.#pod, view, this.memory, this.#reports);
    let plan = this.#plan(view);
    if (plan.failure) {
      this.memory.failure = plan.failure;
      this.#reports.pod('Normal', plan.failure.reason, plan.failure.message);
      plan = this.#plan(view);
    }
    if (plan.finished && this.#ending === undefined) this.memory.finished = true;
    this.#noteCrashing(plan);
    // Before the steps: the last of them deletes the object once its status is written.
    this.#writeStatus(view);
    for (const step of plan.steps) this.#begin(step);
    this.#watchProbes(view);
    if (plan.wakeAt !== undefined) this.#wakeIn(plan.wakeAt - this.#deps.clock.monotonic());
    if (plan.done && this.#inFlight.size === 0) {
      this.#stopped = true;
      this.#cancelTimer?.();
      this.#deps.onDone(this.uid);
    }
  }

  #plan(view: PodView): Plan {
    return planPod({
      pod: this.#pod,
      view,
      memory: this.memory,
      inFlight: new Set(this.#inFlight.keys()),
      ending: this.#ending,
      hashOf: (container) => this.#deps.materials.containerHash(container),
      ...(this.#deps.olderKept === undefined ? {} : { olderKept: this.#deps.olderKept }),
      now: this.#deps.clock.monotonic(),
    });
  }

  #begin(step: Step): void {
    const key = stepKey(step);
    if (this.#inFlight.has(key) || this.#stopped) return;
    const isStart = step.do === 'createSandbox' || step.do === 'startContainer';
    const context: ActionContext = {
      deps: this.#deps,
      pod: () => this.#pod,
      memory: this.memory,
      ending: () => this.#ending,
      reports: this.#reports,
      gone: () => {
        if (this.#ending) this.#ending = { ...this.#ending, gone: true };
      },
      signal: step.do === 'prepareVolumes' ? this.#untilEnd : (isStart ? this.#lateAbort : this.#abort).signal,
      stopping: this.#abort.signal,
    };
    const run = perform(step, context)
      .then(() => void this.memory.retries.delete(retryKey(step)))
      .catch((error: unknown) => this.#failed(step, error))
      .finally(() => {
        this.#inFlight.delete(key);
        this.poke();
      });
    this.#inFlight.set(key, run);
  }

  get #untilEnd(): AbortSignal {
    return AbortSignal.any([this.#abort.signal, this.#volumesAbort.signal]);
  }

  #failed(step: Step, error: unknown): void {
    if (this.#stopped || isAbort(error)) return;
    const { memory } = this;
    const key = retryKey(step);
    const until = error instanceof ImageError ? error.retryAt : undefined;
    const retry = nextRetry(step, memory.retries.get(key), error, this.#deps.clock.monotonic(), until);
    memory.retries.set(key, retry);
    if (!isRuntimeAway(error))
      this.#log.debug('a step failed', { step: key, failures: retry.failures, error: describeError(error) });
  }

  /** What is remembered about containers that are gone from the runtime goes too. */
  #prune(view: PodView): void {
    const ids = new Set(view.containers.map((c) => c.id));
    for (const container of view.containers) this.#link(container);
    while (this.linked.size > 500) this.linked.delete(this.linked.keys().next().value as string);
    for (const map of [this.memory.health, this.memory.killing])
      for (const id of map.keys()) if (!ids.has(id)) map.delete(id);
    for (const id of this.memory.preStopped) if (!ids.has(id)) this.memory.preStopped.delete(id);
    for (const container of view.containers) if (container.state === 'exited') this.memory.killing.delete(container.id);
  }

  /** Also for adopted ones: the agent may have died between a start and its link. */
  #link({ id, name, logPath }: ObservedContainer): void {
    if (logPath === '' || this.linked.has(id)) return;
    this.linked.set(id, name);
    const { name: pod = '', namespace = '' } = this.#pod.metadata;
    void this.#deps.links
      .add({ pod, namespace, container: name, id, target: logPath })
      .catch((error: unknown) =>
        this.#log.debug('a link to a container log could not be made', { error: describeError(error) }),
      );
  }

  #noteCrashing(plan: Plan): void {
    for (const { container, delayMs } of plan.crashing) {
      const name = podLongName(this.#pod);
      const message = `back-off ${goDuration(delayMs)} restarting failed container=${container} pod=${name}`;
      const before = this.memory.waiting.get(container);
      if (before?.reason === 'CrashLoopBackOff' && before.message === message) continue;
      this.memory.waiting.set(container, { reason: 'CrashLoopBackOff', message });
      const spec = findContainer(this.#pod, container);
      if (spec)
        this.#reports.container(
          spec,
          'Warning',
          'BackOff',
          `Back-off restarting failed container ${container} in pod ${name}`,
        );
    }
  }

  #watchProbes(view: PodView): void {
    const { memory } = this;
    if (memory.finished) {
      this.#deps.probes.forget(this.uid);
      return;
    }
    const targets = probeTargets(view, { deps: this.#deps, pod: () => this.#pod, memory });
    this.#deps.probes.watch(this.uid, targets, (id, change) => {
      const health = memory.health.get(id);
      if (health === undefined) return;
      memory.health.set(id, { ...health, ...change });
      this.poke();
    });
  }

  #writeStatus(view: PodView): void {
    const { writer, clock, hostIps, serverMinor, runtimeName } = this.#deps;
    if (!this.#writesStatus || !(this.memory.admitted || this.memory.failure || this.memory.finished)) return;
    if (this.#ending?.gone) return;
    const before = this.memory.status;
    const status = computePodStatus({
      pod: this.#pod,
      view,
      memory: this.memory,
      ending: this.#ending !== undefined,
      hostIps: hostIps(),
      serverMinor: serverMinor(),
      runtimeName,
      now: clock.now(),
    });
    this.memory.status = status;
    const urgent = this.#ending === undefined && isUrgent(before ?? this.#pod.status, status);
    // An ending pod's status is flushed with its last word; whoever waits for its end watches the deletion.
    writer.set(this.#pod, status, urgent ? 0 : this.#ending ? ENDING_MS : LAZY_MS);
    this.#deps.onStatus(this.#pod, status);
  }

  #wakeIn(ms: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#deps.clock.after(Math.min(Math.max(1, ms), 2 ** 31 - 1), () => this.poke());
  }
}

/** What of a pod its volumes may show, and the mounts that may come later. */
function projection({ metadata: { labels, annotations }, spec }: Pod): string {
  const late = spec.ephemeralContainers?.map(({ volumeMounts }) => volumeMounts);
  return JSON.stringify([labels, annotations, spec.containers.map(({ resources }) => resources), late]);
}
