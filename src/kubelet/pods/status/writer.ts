import { abortError, type Clock, createBackoff, describeError, type Logger, orAbort } from '../../../core/index.ts';
import {
  isConflict,
  isNotFound,
  isStatus,
  isTransient,
  type KubeClient,
  type Pod,
  type PodStatus,
} from '../../../kube/index.ts';
import { type StatusPatch, statusPatch } from './patch.ts';

export interface StatusWriterOptions {
  client: Pick<KubeClient, 'patch' | 'delete' | 'onReachable'>;
  clock: Clock;
  log: Logger;
}

interface Tracked {
  uid: string;
  namespace: string;
  name: string;
  /** What the server has, as far as we know. */
  server: PodStatus | undefined;
  version: number;
  /** Monotonic time of our last write: until the watch has caught up with it, what it brings is old. */
  wroteAt: number;
  wanted: PodStatus | undefined;
  /** Milliseconds (monotonic) from which it may be sent. */
  due: number;
  busy: boolean;
  /** What the server did not take over though it accepted the patch (a field it does not know). */
  refused: string | undefined;
  /** Monotonic time of the last write that repaired somebody else's change. */
  repairedAt: number;
  done: (() => void)[];
}

/** Writes at once. */
const LANES = 4;
/** A status that the server did not let this node write is sent again after so long. */
const REFUSED_MS = 30_000;
const WATCH_LAG_MS = 60_000;
/** Somebody who keeps changing our fields is answered once in that time. */
const REPAIR_EVERY_MS = 10_000;

/**
 * Brings pod statuses to the server: only differences, the latest wins, a few at a time. What matters to others (phase,
 * readiness, exits) goes at once; the rest waits a moment for company. While the server is away one status per pod is
 * kept and nothing is lost.
 */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #pods = new Map<string, Tracked>();
  readonly #backoff = createBackoff({ initialMs: 300, maxMs: 5_000, jitter: 0.5 });
  #signal: AbortSignal | undefined;
  #running = 0;
  #pausedUntil = 0;
  #cancelTimer: (() => void) | undefined;
  #quiet: (() => void)[] = [];
  #unsubscribe: (() => void) | undefined;

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#unsubscribe = this.#options.client.onReachable(() => {
      this.#pausedUntil = 0;
      this.#pump();
    });
    signal.addEventListener('abort', () => this.stop(), { once: true });
    this.#pump();
  }

  stop(): void {
    this.#unsubscribe?.();
    this.#cancelTimer?.();
    for (const tracked of this.#pods.values()) this.#settle(tracked);
  }

  /** How many pods wait for a write. */
  get pending(): number {
    let count = 0;
    for (const tracked of this.#pods.values()) if (tracked.wanted || tracked.busy) count++;
    return count;
  }

  /** The status a pod should have, to be written within `delayMs`. */
  set(pod: Pod, status: PodStatus, delayMs: number): void {
    const tracked = this.#track(pod);
    if (!tracked.busy && this.#difference(tracked, status) === undefined) {
      tracked.wanted = undefined;
      this.#settle(tracked);
      return;
    }
    const now = this.#options.clock.monotonic();
    // Somebody waits for the latest one to be written.
    const due = tracked.done.length > 0 ? now : now + delayMs;
    tracked.due = tracked.wanted ? Math.min(tracked.due, due) : due;
    tracked.wanted = status;
    this.#pump();
  }

  /** What the server sent: repairs what others changed of ours (a node that was away has its pods marked not ready). */
  observe(pod: Pod, wanted: PodStatus | undefined): void {
    const tracked = this.#track(pod);
    const version = Number(pod.metadata.resourceVersion ?? 0);
    const behind = !(version > tracked.version);
    // Behind for longer than a watch can lag: the server was restored from a backup, and counts from there.
    if (tracked.busy || (behind && this.#options.clock.monotonic() - tracked.wroteAt < WATCH_LAG_MS)) return;
    tracked.version = version;
    tracked.server = pod.status;
    if (wanted === undefined || tracked.wanted) return;
    const difference = this.#difference(tracked, wanted);
    if (difference === undefined) return;
    const now = this.#options.clock.monotonic();
    tracked.due = Math.max(now, tracked.repairedAt + REPAIR_EVERY_MS);
    tracked.repairedAt = tracked.due;
    tracked.wanted = wanted;
    this.#pump();
  }

  /** Resolves once the pod's latest status is written, or can never be. */
  flush(uid: string, signal: AbortSignal): Promise<void> {
    const tracked = this.#pods.get(uid);
    if (tracked === undefined || (!tracked.wanted && !tracked.busy)) return Promise.resolve();
    tracked.due = 0;
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(abortError());
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      tracked.done.push(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      this.#pump();
    });
  }

  /** Deletes the object of a pod of which nothing runs any more. Throws what the client throws, unless it is gone. */
  async confirmGone(pod: Pod, signal: AbortSignal): Promise<void> {
    const body = { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } };
    try {
      await this.#options.client.delete(pathOf(pod.metadata.namespace, pod.metadata.name), body, { signal });
    } catch (error) {
      // Conflict: another pod has the name by now.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  forget(uid: string): void {
    const tracked = this.#pods.get(uid);
    if (tracked) this.#settle(tracked);
    this.#pods.delete(uid);
    this.#pump();
  }

  /** Resolves when no write is due or under way: for those who should not be in the way. */
  whenQuiet(signal: AbortSignal): Promise<void> {
    if (this.#running === 0 && this.#next(this.#options.clock.monotonic()) === undefined) return Promise.resolve();
    return orAbort(new Promise<void>((resolve) => this.#quiet.push(resolve)), signal);
  }

  #track(pod: Pod): Tracked {
    const uid = pod.metadata.uid as string;
    let tracked = this.#pods.get(uid);
    if (tracked === undefined) {
      tracked = {
        uid,
        namespace: pod.metadata.namespace ?? '',
        name: pod.metadata.name ?? '',
        server: pod.status,
        version: Number(pod.metadata.resourceVersion ?? 0),
        wroteAt: Number.NEGATIVE_INFINITY,
        wanted: undefined,
        due: 0,
        busy: false,
        refused: undefined,
        repairedAt: Number.NEGATIVE_INFINITY,
        done: [],
      };
      this.#pods.set(uid, tracked);
    }
    return tracked;
  }

  #difference(tracked: Tracked, wanted: PodStatus): StatusPatch | undefined {
    const patch = statusPatch(tracked.server, wanted);
    return patch !== undefined && JSON.stringify(patch) === tracked.refused ? undefined : patch;
  }

  #next(now: number): Tracked | undefined {
    let best: Tracked | undefined;
    for (const tracked of this.#pods.values())
      if (tracked.wanted && !tracked.busy && tracked.due <= now && (!best || tracked.due < best.due)) best = tracked;
    return best;
  }

  #pump(): void {
    const { clock } = this.#options;
    if (this.#signal === undefined || this.#signal.aborted) return;
    const now = clock.monotonic();
    if (now >= this.#pausedUntil)
      while (this.#running < LANES) {
        const tracked = this.#next(now);
        if (tracked === undefined) break;
        tracked.busy = true;
        this.#running++;
        void this.#write(tracked, this.#signal).finally(() => {
          this.#running--;
          tracked.busy = false;
          if (tracked.wanted && this.#difference(tracked, tracked.wanted) === undefined) tracked.wanted = undefined;
          if (!tracked.wanted) this.#settle(tracked);
          this.#pump();
        });
      }
    this.#schedule(now);
    if (this.#running === 0) for (const resolve of this.#quiet.splice(0)) resolve();
  }

  #schedule(now: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let at = Number.POSITIVE_INFINITY;
    for (const tracked of this.#pods.values()) if (tracked.wanted && !tracked.busy) at = Math.min(at, tracked.due);
    at = Math.max(at, this.#pausedUntil);
    if (at === Number.POSITIVE_INFINITY || (at <= now && this.#running > 0)) return;
    this.#cancelTimer = this.#options.clock.after(Math.max(0, at - now), () => this.#pump());
  }

  async #write(tracked: Tracked, signal: AbortSignal): Promise<void> {
    const { client, clock, log } = this.#options;
    const wanted = tracked.wanted;
    tracked.wanted = undefined;
    if (wanted === undefined) return;
    const patch = this.#difference(tracked, wanted);
    if (patch === undefined) return;
    const path = `${pathOf(tracked.namespace, tracked.name)}/status`;
    try {
      const body = { metadata: { uid: tracked.uid }, status: patch };
      const answer = await client.patch<Pod | undefined>(path, 'strategic', body, { signal });
      this.#backoff.reset();
      tracked.server = answer?.status ?? wanted;
      tracked.version = Number(answer?.metadata?.resourceVersion ?? tracked.version);
      tracked.wroteAt = this.#options.clock.monotonic();
      const left = statusPatch(tracked.server, wanted);
      tracked.refused = left && JSON.stringify(left);
    } catch (error) {
      if (signal.aborted) return;
      if (isTransient(error)) {
        tracked.wanted ??= wanted; // unless there is a newer one
        tracked.due = 0;
        this.#pausedUntil = clock.monotonic() + this.#backoff.next();
        return;
      }
      if (isNotFound(error) || isConflict(error)) return; // gone, or another pod of that name
      log.warn('the server refused the status of a pod', {
        pod: `${tracked.namespace}/${tracked.name}`,
        error: describeError(error),
      });
      if (!isStatus(error, 401) && !isStatus(error, 403)) return;
      // Who may do what comes and goes with a starting server; what was to be told stays true. Nobody waits for that.
      this.#settle(tracked);
      tracked.wanted ??= wanted;
      tracked.due = clock.monotonic() + REFUSED_MS;
    }
  }

  #settle(tracked: Tracked): void {
    for (const resolve of tracked.done.splice(0)) resolve();
  }
}

function pathOf(namespace: string | undefined, name: string | undefined): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace ?? '')}/pods/${encodeURIComponent(name ?? '')}`;
}
