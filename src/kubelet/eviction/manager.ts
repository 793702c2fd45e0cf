import { type Clock, Coalescer, type Component, describeError, type Logger, sayOnce } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { isCriticalPod } from '../containers/spec.ts';
import type { NodeEvent } from '../node/node-events.ts';
import type { Eviction } from '../pods/evict.ts';
import type { Measures } from './measures.ts';
import { evictionText } from './message.ts';
import { type DiskParts, sumDisk } from './pod-disk.ts';
import { rankForEviction } from './rank.ts';
import { nextLookMs, nextStorageLookMs } from './schedule.ts';
import { isMemory, type Observations, type Pressure, resourceOf, type Signal } from './signals.ts';
import { brokenStorageLimit, hasStorageLimit } from './storage-limits.ts';
import { type Assessment, assess, CALM, crossed, type Threshold } from './thresholds.ts';

/** The pods of this node, as far as they can be evicted. */
export interface EvictionTargets {
  /** Pods that run or are about to. */
  active(): readonly Pod[];
  /** Resolves once nothing of the pod runs any more, at the latest some seconds after its grace. */
  evict(podUid: string, eviction: Eviction, signal: AbortSignal): Promise<void>;
}

/** Frees what nobody uses before a pod has to go. */
export interface NodeReclaim {
  /** Removes dead containers. */
  containers?(signal: AbortSignal): Promise<void>;
  /** Removes images that no container uses. */
  images?(signal: AbortSignal): Promise<void>;
}

export interface EvictionManagerOptions {
  thresholds: readonly Threshold[];
  /** A pressure lasts at least that long after it was last seen (evictionPressureTransitionPeriod). */
  transitionMs: number;
  /** Longest grace of a pod that goes for a soft threshold (evictionMaxPodGracePeriod). */
  maxPodGraceSeconds: number;
  /** False: limits of local storage are not watched (localStorageCapacityIsolation). */
  storageLimits: boolean;
  observe(): Promise<Observations>;
  /** True if images lie on a disk of their own. */
  hasImageFilesystem(): Promise<boolean>;
  /** Records an event about the Node. */
  event(event: NodeEvent): void;
  /** The node's pressures are others than before. */
  changed(): void;
  clock: Clock;
  log: Logger;
}

export interface EvictionParts {
  targets: EvictionTargets;
  measures: Measures;
  reclaim?: NodeReclaim;
}

/** What a pod gets whose node is out of something now. */
const IMMEDIATE_GRACE_SECONDS = 1;
/** After an eviction the node is looked at again that soon. */
const AGAIN_MS = 1_000;

/**
 * Watches what a node runs short of, tells of it, frees what nobody uses, and else puts off one pod at a time
 * (pkg/kubelet/eviction). It can say how the node is before there are pods; {@link EvictionManager.attach} lets it act.
 */
export class EvictionManager implements Component {
  readonly #options: EvictionManagerOptions;
  readonly #abort = new AbortController();
  readonly #work = new Coalescer(() => this.#round());
  readonly #once = sayOnce();
  #parts: EvictionParts | undefined;
  #state: Assessment = CALM;
  #seen: Observations = new Map();
  #seenAt = Number.NEGATIVE_INFINITY;
  #first: Promise<void> | undefined;
  #storageAt = Number.NEGATIVE_INFINITY;
  #cancel: () => void = () => {};

  constructor(options: EvictionManagerOptions) {
    this.#options = options;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#work.poke();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancel();
    await this.#work.idle();
  }

  /** From now on it may act. */
  attach(parts: EvictionParts): void {
    this.#parts = parts;
    this.#work.poke();
  }

  /** The node's pressures as last seen. */
  get pressures(): readonly Pressure[] {
    return this.#state.pressures;
  }

  /** The same for the Node's conditions; the first call waits for the first look. */
  async conditions(): Promise<{ memoryPressure: boolean; diskPressure: boolean; pidPressure: boolean }> {
    // What can't be measured is no pressure; the rounds say why.
    this.#first ??= this.#look().catch(() => {});
    await this.#first;
    const has = (pressure: Pressure) => this.#state.pressures.includes(pressure);
    return {
      memoryPressure: has('MemoryPressure'),
      diskPressure: has('DiskPressure'),
      pidPressure: has('PIDPressure'),
    };
  }

  async #round(): Promise<void> {
    const { clock, log } = this.#options;
    if (this.#abort.signal.aborted) return;
    this.#cancel();
    const before = { seen: this.#seen, at: this.#seenAt };
    let again: number | undefined;
    try {
      await this.#look();
      if (this.#parts && (await this.#act(this.#parts))) again = AGAIN_MS;
      this.#once.clear('error');
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const text = describeError(error);
      if (this.#once.changed('error', text)) log.warn('the node could not be looked at for shortages', { error: text });
    }
    if (this.#abort.signal.aborted) return;
    const { thresholds } = this.#options;
    const elapsedMs = this.#seenAt - before.at;
    const next = again ?? nextLookMs(this.#state, thresholds, { seen: this.#seen, before: before.seen, elapsedMs });
    const storage = this.#storageAt - clock.monotonic();
    this.#cancel = clock.after(Math.max(1, Math.min(next, storage > 0 ? storage : next)), () => this.#work.poke());
  }

  async #look(): Promise<void> {
    const { observe, thresholds, transitionMs, clock, changed, log } = this.#options;
    const seen = await observe();
    const before = this.#state.pressures.join();
    this.#seen = seen;
    this.#seenAt = clock.monotonic();
    this.#state = assess(this.#state, { thresholds, seen, now: this.#seenAt, transitionMs });
    if (this.#state.pressures.join() === before) return;
    log.warn('what the node is short of has changed', {
      pressures: this.#state.pressures.join(', ') || 'none',
      crossed: [...this.#state.since.keys()].map(({ signal }) => signal).join(', ') || 'none',
    });
    changed();
  }

  /** True if a pod was put off, so that the node is to be looked at again soon. */
  async #act(parts: EvictionParts): Promise<boolean> {
    if (await this.#enforceStorageLimits(parts)) return true;
    const { acting } = this.#state;
    // Memory first: it is the only shortage that kills by itself.
    const threshold = acting.find(({ signal }) => isMemory(signal)) ?? acting[0];
    if (threshold === undefined) return false;
    const resource = resourceOf(threshold.signal);
    this.#options.event({
      type: 'Warning',
      reason: 'EvictionThresholdMet',
      message: `Attempting to reclaim ${resource}`,
    });
    if (await this.#reclaim(parts.reclaim, threshold.signal)) return false;
    return this.#evictOne(parts, threshold);
  }

  async #enforceStorageLimits({ targets, measures }: EvictionParts): Promise<boolean> {
    const { storageLimits, clock, hasImageFilesystem } = this.#options;
    const began = clock.monotonic();
    if (!storageLimits || began < this.#storageAt) return false;
    const pods = targets.active().filter(hasStorageLimit);
    this.#storageAt = Number.NEGATIVE_INFINITY;
    if (pods.length === 0) return false;
    const { signal } = this.#abort;
    const disks = await measures.disk(pods, signal);
    const imageFilesystem = await hasImageFilesystem();
    this.#storageAt = clock.monotonic() + nextStorageLookMs(clock.monotonic() - began);
    const evictions = pods.flatMap((pod) => {
      const disk = disks.get(pod.metadata.uid as string);
      const message = disk && brokenStorageLimit(pod, disk, { imageFilesystem });
      return message === undefined
        ? []
        : [this.#evict(targets, pod, { reason: 'Evicted', message, graceSeconds: IMMEDIATE_GRACE_SECONDS })];
    });
    return (await Promise.all(evictions)).includes(true);
  }

  /** True if that was enough (eviction_manager.go, reclaimNodeLevelResources). */
  async #reclaim(reclaim: NodeReclaim | undefined, signal: Signal): Promise<boolean> {
    const { hasImageFilesystem, observe, thresholds, log } = this.#options;
    if (reclaim === undefined || isMemory(signal) || signal === 'pid.available') return false;
    if (signal.startsWith('nodefs.') && (await hasImageFilesystem())) return false;
    for (const free of [reclaim.containers, reclaim.images])
      await free?.(this.#abort.signal).catch((error: unknown) => {
        if (this.#abort.signal.aborted) throw error;
        log.warn('what nobody uses could not be freed', { error: describeError(error) });
      });
    return crossed(thresholds, await observe(), true).length === 0;
  }

  async #evictOne(parts: EvictionParts, threshold: Threshold): Promise<boolean> {
    const { log } = this.#options;
    const { targets } = parts;
    const { acting } = this.#state;
    const resource = resourceOf(threshold.signal);
    const pods = targets.active();
    if (pods.length === 0) {
      if (this.#once.changed('nobody', resource)) log.warn(`the node is short of ${resource}, and no pod runs on it`);
      return false;
    }
    const usage = await this.#usage(parts, pods, threshold.signal);
    for (const pod of rankForEviction(pods, resource, (p) => usage.of(p))) {
      if (isCriticalPod(pod)) continue;
      const uses = await usage.detail(pod);
      const text = evictionText(pod, { resource, acting, seen: this.#seen }, uses);
      const eviction = {
        reason: 'Evicted',
        ...text,
        graceSeconds: this.#graceOf(pod, threshold),
        disruption: text.message,
      };
      if (await this.#evict(targets, pod, eviction)) return true;
    }
    if (this.#once.changed('nobody', `${resource} critical`))
      log.warn(`the node is short of ${resource}, and only critical pods run on it`);
    return false;
  }

  #graceOf(pod: Pod, threshold: Threshold): number {
    if (threshold.graceMs === 0) return IMMEDIATE_GRACE_SECONDS;
    const most = this.#options.maxPodGraceSeconds;
    return Math.min(most, pod.spec.terminationGracePeriodSeconds ?? most);
  }

  async #evict(targets: EvictionTargets, pod: Pod, eviction: Eviction): Promise<boolean> {
    const { log } = this.#options;
    if (isCriticalPod(pod)) return false;
    log.warn('a pod is evicted', {
      pod: `${pod.metadata.namespace}/${pod.metadata.name}`,
      why: eviction.message.trim(),
    });
    const { signal } = this.#abort;
    await targets.evict(pod.metadata.uid as string, eviction, signal);
    return true;
  }

  async #usage({ measures }: EvictionParts, pods: readonly Pod[], signal: Signal) {
    const resource = resourceOf(signal);
    const abort = this.#abort.signal;
    const amounts = new Map<string, number | undefined>();
    if (resource === 'memory' || resource === 'pids') {
      for (const pod of pods)
        amounts.set(
          pod.metadata.uid as string,
          await (resource === 'memory' ? measures.memory(pod) : measures.tasks(pod)),
        );
      return {
        of: (pod: Pod) => amounts.get(pod.metadata.uid as string),
        detail: async (pod: Pod) => ({
          pod: amounts.get(pod.metadata.uid as string),
          containers: resource === 'memory' ? await measures.containers(pod, abort) : [],
        }),
      };
    }
    const disks = await measures.disk(pods, abort);
    const parts = partsOf(signal, await this.#options.hasImageFilesystem());
    const field = resource === 'inodes' ? 'inodes' : 'bytes';
    return {
      of(pod: Pod) {
        const disk = disks.get(pod.metadata.uid as string);
        return disk && sumDisk(disk, parts)[field];
      },
      async detail(pod: Pod) {
        const disk = disks.get(pod.metadata.uid as string);
        if (disk === undefined) return undefined;
        const containers = resource === 'inodes' ? [] : disk.containers;
        return { containers: containers.map(({ name, root, logs }) => ({ name, bytes: root.bytes + logs.bytes })) };
      },
    };
  }
}

/** Which of a pod's files lie on the file system that is short. */
function partsOf(signal: Signal, imageFilesystem: boolean): DiskParts {
  if (!imageFilesystem) return 'all';
  return signal.startsWith('nodefs.') ? 'node' : 'image';
}
