import {
  type Clock,
  type Component,
  createBackoff,
  describeError,
  isAbort,
  type Logger,
  sayOnce,
} from '../../core/index.ts';
import type { Inhibitor, Logind } from '../../host/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { NodeEvent } from '../node/index.ts';
import type { Eviction } from '../pods/evict.ts';
import { podsByGroup, type ShutdownGroup } from './groups.ts';

export interface ShutdownPods {
  active(): readonly Pod[];
  /** Resolves when nothing of the pod runs any more. */
  evict(uid: string, eviction: Eviction, signal: AbortSignal): Promise<void>;
  /** Resolves when all statuses are at the server. */
  whenQuiet(signal: AbortSignal): Promise<void>;
}

export interface NodeShutdownOptions {
  /** Lowest priority first, at least one. */
  groups: readonly ShutdownGroup[];
  connect(): Promise<Logind>;
  inhibit(): Promise<Inhibitor>;
  pods: ShutdownPods;
  /** The node begins to go down, or stays after all. */
  changed(): void;
  event(event: NodeEvent): void;
  clock: Clock;
  log: Logger;
}

const MESSAGE = 'Pod was terminated in response to imminent node shutdown.';
/** For the last statuses to reach the server, once all pods have ended. */
const FAREWELL_MS = 2_000;
/** What worked this long is tried again at once when it ends. */
const STEADY_MS = 60_000;
/** logind reads its configuration a little after it was told to: looks at these times. */
const RELOAD_MS = [100, 200, 400, 800, 1_600];

/**
 * Ends pods in an orderly way when the board is told to go down: holds the shutdown up, ends pods by priority, each
 * within its group's time, and lets the system go on (kubelet pkg/kubelet/nodeshutdown).
 */
export class NodeShutdown implements Component {
  readonly #options: NodeShutdownOptions;
  readonly #abort = new AbortController();
  readonly #once = sayOnce();
  #lock: Inhibitor | undefined;
  #shuttingDown = false;
  #ending: AbortController | undefined;
  #loop: Promise<void> | undefined;
  /** Ends the present watch, so that the loop begins a new one. */
  #lost: (why: string) => void = () => {};
  lastError: string | undefined;

  constructor(options: NodeShutdownOptions) {
    this.#options = options;
  }

  /** The node is going down: no pod may begin any more. */
  get shuttingDown(): boolean {
    return this.#shuttingDown;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#lock?.release();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#abort;
    const backoff = createBackoff({ initialMs: 1_000, maxMs: 60_000 });
    while (!signal.aborted) {
      const began = clock.monotonic();
      try {
        const why = await this.#watch(() => {
          this.lastError = undefined;
          this.#once.clear('failed');
        });
        if (!signal.aborted) throw new Error(why);
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        this.lastError = describeError(error);
        if (this.#once.changed('failed', this.lastError))
          log.warn('a shutdown of this board will not wait for its pods', {
            error: this.lastError,
            remedy: 'graceful node shutdown needs systemd-logind and D-Bus',
          });
      }
      if (clock.monotonic() - began > STEADY_MS) backoff.reset();
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  }

  /** Resolves with the reason when the connection or the lock is lost. */
  async #watch(works: () => void): Promise<string> {
    const watch = await this.#options.connect();
    const { signal } = this.#abort;
    const lost = new Promise<string>((resolve) => {
      this.#lost = resolve;
    });
    const close = () => watch.close();
    signal.addEventListener('abort', close, { once: true });
    try {
      await this.#ensureDelay(watch);
      await watch.onShutdown((begins) => void this.#told(begins));
      if (!this.#shuttingDown) await this.#hold();
      works();
      return await Promise.race([watch.closed, lost]);
    } finally {
      signal.removeEventListener('abort', close);
      watch.close();
    }
  }

  async #ensureDelay(watch: Logind): Promise<void> {
    const { groups, clock } = this.#options;
    const wanted = groups.reduce((sum, { seconds }) => sum + seconds * 1_000, 0);
    if ((await watch.inhibitDelayMs()) >= wanted) return;
    await watch.requestInhibitDelay(wanted);
    let current = 0;
    for (const pause of RELOAD_MS) {
      await clock.sleep(pause, this.#abort.signal);
      current = await watch.inhibitDelayMs();
      if (current >= wanted) return;
    }
    throw new Error(`logind grants ${current / 1_000} s (InhibitDelayMaxSec), ${wanted / 1_000} s are asked for`);
  }

  /** Takes the lock, in place of one that is held. */
  async #hold(): Promise<void> {
    const { signal } = this.#abort;
    const lock = await this.#options.inhibit();
    this.#lock?.release();
    this.#lock = lock;
    if (signal.aborted) lock.release();
    void lock.ended.then(() => {
      if (this.#lock === lock && !this.#shuttingDown) this.#lost('what delays the shutdown has ended before its time');
    });
  }

  async #told(begins: boolean): Promise<void> {
    if (begins === this.#shuttingDown) return;
    const { event, changed, log } = this.#options;
    this.#shuttingDown = begins;
    this.#ending?.abort();
    const what = begins ? 'event' : 'cancellation';
    log.info(begins ? 'this board is going down; its pods are ended' : 'this board stays up after all');
    event({ type: 'Normal', reason: 'NodeShutdown', message: `Shutdown manager detected shutdown ${what}` });
    changed();
    try {
      if (begins) await this.#endPods();
      else await this.#hold().catch((error: unknown) => this.#lost(describeError(error)));
    } catch (error) {
      if (!isAbort(error)) log.warn('the shutdown did not go as it should', { error: describeError(error) });
    } finally {
      if (begins && this.#shuttingDown) this.#lock?.release();
    }
  }

  async #endPods(): Promise<void> {
    const { groups, pods, clock } = this.#options;
    const ending = new AbortController();
    this.#ending = ending;
    const signal = AbortSignal.any([ending.signal, this.#abort.signal]);
    for (const { group, pods: members } of podsByGroup(groups, pods.active())) {
      if (members.length === 0) continue;
      const ended = Promise.allSettled(
        members.map((pod) => pods.evict(pod.metadata.uid as string, shutdownOf(pod, group), signal)),
      );
      await Promise.race([ended, clock.sleep(group.seconds * 1_000, signal)]);
      signal.throwIfAborted();
    }
    await Promise.race([pods.whenQuiet(signal), clock.sleep(FAREWELL_MS, signal)]);
  }
}

function shutdownOf(pod: Pod, { seconds }: ShutdownGroup): Eviction {
  const graceSeconds = Math.min(seconds, pod.spec.terminationGracePeriodSeconds ?? seconds);
  return { reason: 'Terminated', message: MESSAGE, graceSeconds, disruption: MESSAGE, silent: true };
}
