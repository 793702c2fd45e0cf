import { type Clock, type Component, describeError, type Logger } from '../../core/index.ts';
import type { RuntimeEvents, RuntimeService } from '../../cri/types.ts';
import type { EventRecorder, KubeClient, Pod, PodStatus } from '../../kube/index.ts';
import { isStaticPod } from '../containers/spec.ts';
import type { ImagePuller } from '../images/index.ts';
import type { PodMaterials } from '../materials.ts';
import type { MirrorKeeper } from '../static/mirrors.ts';
import { type Admitting, createAdmitting } from './admitting.ts';
import { removeDeadContainers } from './dead-containers.ts';
import type { WorkerDeps } from './deps.ts';
import type { DesiredCache } from './desired-cache.ts';
import { type Eviction, evictPod } from './evict.ts';
import { createLogLinks } from './files.ts';
import { sweepLeftovers } from './leftovers.ts';
import { Limiter } from './limiter.ts';
import type { ProbeRunner } from './probes/types.ts';
import { runningLogs, wantedImages } from './queries.ts';
import { createRelisting } from './relisting.ts';
import { CRASH_MAX_MS } from './restart.ts';
import { type RuntimePod, RuntimeView } from './runtime-view.ts';
import type { PodSource } from './source.ts';
import { StatusWriter } from './status/writer.ts';
import { terminationMessage } from './termination.ts';
import { PodWorker } from './worker.ts';

export interface PodManagerOptions {
  source: PodSource;
  runtime: RuntimeService;
  events: RuntimeEvents;
  images: ImagePuller;
  materials: PodMaterials;
  recorder: EventRecorder;
  client: KubeClient;
  probes: ProbeRunner;
  nodeName: string;
  /** The node's addresses, the primary one first; asked for at each use. */
  hostIps(): readonly string[];
  /** Minor version of the server (36 for 1.36). */
  serverMinor(): number;
  clock: Clock;
  log: Logger;
  /**
   * Waits a little for the pod network: undefined once it is there, else what it lacks. Pods on the host's network (those
   * that bring the network among them) do not wait. Left out: it is always there.
   */
  networkMissing?(signal: AbortSignal): Promise<string | undefined>;
  /** Keeps static pods visible at the server; left out: there are none. */
  mirrors?: MirrorKeeper;
  /** Where the last known pods are kept; left out: they are not. */
  cache?: DesiredCache;
  /** `/var/log/containers` when left out. */
  logLinkDir?: string;
  /** Heavy runtime calls at once of each kind; the number of cores, at least 2. */
  slots: number;
  /** Dead containers kept of each name behind the newest one (maximum-dead-containers-per-container); 1 when left out. */
  olderKept?: number;
  /** Longest CrashLoopBackOff, milliseconds; 300000 when left out. */
  crashLoopMaxMs?: number;
  /** Scheme of container ids in statuses; `containerd` when left out. */
  runtimeName?: string;
}

export interface PodSummary {
  /** Desired pods, by phase. */
  phases: Record<string, number>;
  /** Pods that are ending. */
  ending: number;
  /** Leftovers of unknown pods being removed. */
  orphans: number;
  /** Statuses not yet at the server. */
  unsent: number;
  runtimeSeen: boolean;
  sourceSynced: boolean;
}

/** The pod half of the kubelet: one worker per pod, what they share, and the leftovers of pods nobody knows. */
export class PodManager implements Component {
  readonly #options: PodManagerOptions;
  readonly #workers = new Map<string, PodWorker>();
  readonly #orphans = new Map<string, PodWorker>();
  readonly #handlers = new Set<() => void>();
  readonly #abort = new AbortController();
  readonly #deps: WorkerDeps;
  /** The same for pods whose statuses go to another object. */
  readonly #staticDeps: WorkerDeps;
  readonly #view: RuntimeView;
  readonly #writer: StatusWriter;
  readonly #admitting: Admitting;
  readonly #relist: () => void;
  readonly #unsubscribe: (() => void)[] = [];
  #swept = false;
  #stopped: Promise<void> | undefined;

  constructor(options: PodManagerOptions) {
    const { runtime, clock, log, client, slots } = options;
    this.#options = options;
    this.#writer = new StatusWriter({ client, clock, log });
    this.#view = new RuntimeView({
      runtime,
      clock,
      log,
      changed: (uid) => this.#runtimeChanged(uid),
      completeExit: terminationMessage,
    });
    this.#deps = {
      ...options,
      view: this.#view,
      writer: this.#writer,
      links: createLogLinks(options.logLinkDir ?? '/var/log/containers'),
      // One start more than cores: each waits for disk or server now and then.
      limits: { start: new Limiter(slots + 1), volumes: new Limiter(slots), end: new Limiter(slots + 1) },
      runtimeName: options.runtimeName ?? 'containerd',
      crashLoopMaxMs: options.crashLoopMaxMs ?? CRASH_MAX_MS,
      refuseResize: (pod) => options.materials.refuseResize(pod, this.#admitting.othersThan(pod)),
      onStatus: (_, { phase }) => {
        if (phase === 'Succeeded' || phase === 'Failed') this.#retryResizes();
        this.#notify();
      },
      onDone: (uid) => this.#done(uid),
    };
    this.#admitting = createAdmitting({
      workers: this.#workers,
      orphans: this.#orphans,
      view: this.#view,
      materials: options.materials,
      evict: (uid, eviction, signal) => this.evict(uid, eviction, signal),
      log,
      signal: this.#abort.signal,
    });
    this.#relist = createRelisting({
      list: async () => {
        await this.#view.resync();
        this.#resynced();
      },
      clock,
      log,
      signal: this.#abort.signal,
    });
    const { mirrors } = options;
    this.#staticDeps = mirrors ? { ...this.#deps, writer: mirrors.statusWriter(this.#writer) } : this.#deps;
  }

  /** Begins to follow source and runtime; the materials must have been started. */
  async start(signal: AbortSignal): Promise<void> {
    const both = AbortSignal.any([signal, this.#abort.signal]);
    both.addEventListener('abort', () => void this.stop(), { once: true });
    this.#writer.start(both);
    this.#unsubscribe.push(
      this.#options.source.subscribe(({ type, pod }) => (type === 'set' ? this.#set(pod) : this.#removed(pod))),
      this.#options.events.subscribe((event) => {
        if (event.type === 'images') this.#options.images.presence.changed();
        else if (event.type === 'resync') this.#relist();
        else void this.#view.handle(event).then((seen) => seen || this.#relist());
      }),
    );
    this.#unsubscribe.push(
      this.#options.materials.onVolumesMayBeReady((uid) => this.#workers.get(uid)?.volumesMayBeReady()),
    );
    void this.#options.source.whenSynced().then(() => {
      this.#options.mirrors?.bothKnown();
      this.#sweep();
    });
  }

  /** Stops looking after pods; their containers go on. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#abort.abort();
    await Promise.all([...this.#workers.values(), ...this.#orphans.values()].map((worker) => worker.stop()));
    await this.#options.cache?.flush();
  }

  /** The desired pods with their newest statuses. */
  pods(): Pod[] {
    return [...this.#workers.values()].map(withStatus);
  }

  /** Images that pods are made of or are about to be, as their specs name them. */
  wantedImages(): Iterable<string> {
    return wantedImages(this.#workers.values());
  }

  /** The logs of all running containers. */
  runningLogs(): Iterable<{ containerId: string; path: string }> {
    return runningLogs(this.#view);
  }

  /** Called after each change of a pod or its status. */
  onPodsChanged(handler: () => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  status(): PodSummary {
    const phases: Record<string, number> = {};
    let ending = 0;
    for (const worker of this.#workers.values()) {
      const phase = worker.status?.phase ?? 'Pending';
      phases[phase] = (phases[phase] ?? 0) + 1;
      if (worker.ending) ending++;
    }
    return {
      phases,
      ending,
      orphans: this.#orphans.size,
      unsent: this.#writer.pending,
      runtimeSeen: this.#view.synced,
      sourceSynced: this.#options.source.synced,
    };
  }

  /** The node has another pod network: sandboxes whose addresses `belongs` refuses are made anew. */
  subnetChanged(belongs: (ips: readonly string[]) => boolean): void {
    this.#view.markStale(belongs);
  }

  /** The board has other addresses, which statuses show. */
  hostIpsChanged(): void {
    for (const worker of this.#workers.values()) worker.poke();
  }

  /** Resolves when no status is due and no pod is being started or ended: events and other patient writers wait for it. */
  async whenQuiet(signal: AbortSignal): Promise<void> {
    await this.#deps.limits.start.idle(signal);
    await this.#deps.limits.end.idle(signal);
    await this.#writer.whenQuiet(signal);
  }

  #set(pod: Pod): void {
    const uid = pod.metadata.uid as string;
    const isStatic = isStaticPod(pod);
    if (!isStatic) this.#options.cache?.set(pod);
    const worker = this.#workers.get(uid);
    if (worker) worker.update(pod);
    else {
      // What looked like a leftover is wanted after all; its worker goes on with it.
      void this.#orphans.get(uid)?.stop();
      this.#orphans.delete(uid);
      if (isStatic) this.#options.mirrors?.add(pod);
      this.#workers.set(uid, new PodWorker(isStatic ? this.#staticDeps : this.#deps, pod, true));
      this.#admitting.soon();
    }
    this.#notify();
  }

  #removed(pod: Pod): void {
    const uid = pod.metadata.uid as string;
    this.#options.cache?.delete(uid);
    this.#workers.get(uid)?.remove(pod);
    this.#notify();
  }

  /** The pods that hold a place on this node. */
  active(): Pod[] {
    return [...this.#workers.values()].filter((w) => w.memory.admitted && w.active).map(withStatus);
  }

  /** Ends a pod as failed; resolves once nothing of it runs any more, or when that takes too long. */
  async evict(podUid: string, eviction: Eviction, signal: AbortSignal): Promise<void> {
    const worker = this.#workers.get(podUid);
    const { recorder, clock } = this.#options;
    const onPodsChanged = (handler: () => void) => this.onPodsChanged(handler);
    if (worker) await evictPod(worker, eviction, { recorder, clock, onPodsChanged }, signal);
  }

  /** Frees what containers of pods that have ended wrote; their logs stay. */
  async removeDeadContainers(signal: AbortSignal): Promise<void> {
    await removeDeadContainers(this.#workers.values(), this.#deps, signal);
  }

  #retryResizes(): void {
    for (const worker of this.#workers.values()) worker.retryResize();
  }

  #runtimeChanged(uid: string): void {
    const worker = this.#workers.get(uid) ?? this.#orphans.get(uid);
    if (worker) worker.poke();
    else if (this.#swept) this.#adoptOrphans();
  }

  #resynced(): void {
    if (!this.#view.synced) return;
    this.#admitting.now();
    for (const worker of [...this.#workers.values(), ...this.#orphans.values()]) worker.runtimeBack();
    this.#sweep();
  }

  /** Once both sides are completely known: whatever belongs to nobody goes. */
  #sweep(): void {
    if (!this.#view.synced || !this.#options.source.synced || this.#abort.signal.aborted) return;
    this.#adoptOrphans();
    if (this.#swept) return;
    this.#swept = true;
    const { materials, log } = this.#options;
    const known = () => new Set([...this.#workers.keys(), ...this.#orphans.keys()]);
    const { signal } = this.#abort;
    void sweepLeftovers({ known, materials, view: this.#view, links: this.#deps.links, log, signal }).catch(
      (error: unknown) => log.warn('leftovers of earlier pods could not be removed', { error: describeError(error) }),
    );
  }

  #adoptOrphans(): void {
    for (const pod of this.#view.pods()) {
      if (this.#workers.has(pod.uid) || this.#orphans.has(pod.uid) || this.#options.source.spares?.(pod)) continue;
      this.#options.log.info('removing what is left of a pod nobody knows', {
        pod: `${pod.namespace}/${pod.name}`,
        uid: pod.uid,
      });
      const stub = stubOf(pod);
      const worker = new PodWorker(this.#deps, stub, false);
      this.#orphans.set(pod.uid, worker);
      worker.remove(stub);
    }
  }

  #done(uid: string): void {
    const { images, materials, probes, log } = this.#options;
    const worker = this.#workers.get(uid) ?? this.#orphans.get(uid);
    this.#workers.delete(uid);
    this.#orphans.delete(uid);
    this.#retryResizes();
    this.#writer.forget(uid);
    images.forgetPod(uid);
    probes.forget(uid);
    if (worker) {
      if (isStaticPod(worker.pod)) this.#options.mirrors?.done(worker.pod);
      else this.#options.mirrors?.poke();
      if ([...this.#workers.values()].some(({ pod, memory }) => !memory.admitted && isStaticPod(pod)))
        this.#admitting.soon();
      const { namespace = '', name = '' } = worker.pod.metadata;
      void this.#removeLogs(worker, { namespace, name, uid }, materials).catch((error: unknown) =>
        log.debug('logs of a pod that is gone could not be removed', { error: describeError(error) }),
      );
    }
    this.#notify();
  }

  async #removeLogs(
    worker: PodWorker,
    pod: { namespace: string; name: string; uid: string },
    materials: PodMaterials,
  ): Promise<void> {
    await materials.removeLogs(pod);
    for (const [id, container] of worker.linked)
      await this.#deps.links.remove({ pod: pod.name, namespace: pod.namespace, container, id });
  }

  #notify(): void {
    for (const handler of this.#handlers) handler();
  }
}

function withStatus(worker: PodWorker): Pod {
  const own = worker.memory.status;
  if (own === undefined) return worker.pod;
  const foreign = (worker.pod.status?.conditions ?? []).filter((c) => !own.conditions?.some((o) => o.type === c.type));
  const status: PodStatus = { ...own, conditions: [...(own.conditions ?? []), ...foreign] };
  return { ...worker.pod, status };
}

/** Enough of a Pod to end what the runtime holds of it. */
function stubOf({ uid, namespace, name }: RuntimePod): Pod {
  return {
    metadata: { uid, namespace, name, deletionGracePeriodSeconds: 2 },
    spec: { containers: [] },
  };
}
