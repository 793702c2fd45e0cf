import { type Clock, describeError, errorCode, type Logger, Semaphore } from '../../core/index.ts';
import type { PodSandbox, RuntimeEvent, RuntimeService } from '../../cri/types.ts';
import { POD_NAME, POD_NAMESPACE, POD_UID } from '../containers/labels.ts';
import { emptyView, type ObservedContainer, type ObservedSandbox, type PodView } from './model.ts';
import { observedContainer, observedSandbox } from './observe.ts';

/**
 * Milliseconds before each look after an `early` exit, together 2 s. containerd tells CRI and us at the same moment, and
 * CRI writes the exit to disk first, which takes 10 to 30 ms on a PC and several times that on a card; looking sooner
 * only keeps it from doing so.
 */
const EXIT_PAUSES_MS = [25, 15, 20, 30, 40, 60, 100, 150, 250, 500, 800];

export interface RuntimeViewOptions {
  runtime: RuntimeService;
  clock: Clock;
  log: Logger;
  /** What the runtime holds of that pod changed. */
  changed(uid: string): void;
  /** What an exited container left as its last words. */
  completeExit?(
    container: ObservedContainer,
    mounts: readonly { containerPath: string; hostPath: string }[],
  ): Promise<string>;
}

/** Who a sandbox or container belongs to, as its labels say. */
export interface RuntimePod {
  uid: string;
  namespace: string;
  name: string;
}

interface Entry extends RuntimePod {
  sandboxes: Map<string, ObservedSandbox>;
  containers: Map<string, ObservedContainer>;
  /** The view as handed out, made anew after a change. */
  view: PodView | undefined;
}

/**
 * What the runtime holds, by pod. One full list at start and at each `resync`; between them each event costs one
 * status call for the container it names, and what we do ourselves is entered by the worker. At rest: no calls.
 */
export class RuntimeView {
  readonly #options: RuntimeViewOptions;
  readonly #pods = new Map<string, Entry>();
  readonly #owner = new Map<string, string>();
  /** Ids that we are at work on, and how often. */
  readonly #busy = new Map<string, number>();
  /** Of those, the ones an exit was told of meanwhile that the runtime may not have noted yet. */
  readonly #missed = new Set<string>();
  readonly #settling = new Semaphore(8);
  /** Entered or removed by ourselves since the running list began: that list may not know it yet. */
  #touched: Set<string> | undefined;
  /** Whether a sandbox's addresses are of a network that is ours. */
  #keep: (ips: readonly string[]) => boolean = () => true;
  #listing: Promise<void> | undefined;
  #again = false;
  #synced = false;

  constructor(options: RuntimeViewOptions) {
    this.#options = options;
  }

  /** True once the runtime was listed completely. */
  get synced(): boolean {
    return this.#synced;
  }

  get(uid: string): PodView {
    const entry = this.#pods.get(uid);
    if (entry === undefined) return emptyView;
    entry.view ??= {
      sandboxes: [...entry.sandboxes.values()].sort((a, b) => b.createdAt - a.createdAt || b.attempt - a.attempt),
      containers: [...entry.containers.values()].sort((a, b) => b.createdAt - a.createdAt || b.attempt - a.attempt),
    };
    return entry.view;
  }

  pods(): RuntimePod[] {
    return [...this.#pods.values()].map(({ uid, namespace, name }) => ({ uid, namespace, name }));
  }

  putSandbox(pod: RuntimePod, sandbox: ObservedSandbox): void {
    this.#touched?.add(sandbox.id);
    this.#owner.set(sandbox.id, pod.uid);
    this.#entry(pod).sandboxes.set(sandbox.id, { ...sandbox, stale: sandbox.stale || this.#isForeign(sandbox) });
    this.#dirty(pod.uid);
  }

  putContainer(pod: RuntimePod, container: ObservedContainer): void {
    this.#touched?.add(container.id);
    const before = this.#pods.get(pod.uid)?.containers.get(container.id);
    // A container never runs again: this is an answer that was overtaken.
    if (before?.state === 'exited' && container.state !== 'exited') return;
    this.#owner.set(container.id, pod.uid);
    this.#entry(pod).containers.set(container.id, container);
    this.#dirty(pod.uid);
  }

  /** Forgets a container, or a sandbox and all containers in it. */
  drop(id: string): void {
    this.#touched?.add(id);
    const uid = this.#owner.get(id);
    this.#owner.delete(id);
    this.#missed.delete(id);
    const entry = uid === undefined ? undefined : this.#pods.get(uid);
    if (entry === undefined || uid === undefined) return;
    entry.containers.delete(id);
    if (entry.sandboxes.delete(id))
      for (const container of [...entry.containers.values()]) if (container.sandboxId === id) this.drop(container.id);
    if (entry.sandboxes.size === 0 && entry.containers.size === 0) this.#pods.delete(uid);
    this.#dirty(uid);
  }

  #isForeign({ hostNetwork, ips }: ObservedSandbox): boolean {
    return !hostNetwork && ips.length > 0 && !this.#keep(ips);
  }

  /** Marks every sandbox with pod network, also those seen later, whose addresses are not ours. */
  markStale(keep: (ips: readonly string[]) => boolean): void {
    this.#keep = keep;
    for (const [uid, entry] of this.#pods)
      for (const sandbox of entry.sandboxes.values())
        if (!sandbox.stale && this.#isForeign(sandbox)) {
          entry.sandboxes.set(sandbox.id, { ...sandbox, stale: true });
          this.#dirty(uid);
        }
  }

  /**
   * Runs a runtime call of ours on a container or sandbox without asking about it at each event that the call causes.
   * Afterwards the caller must look: what happens from then on is followed again. If the call fails, that is done here.
   */
  async during<T>(id: string, call: () => Promise<T>): Promise<T> {
    this.#busy.set(id, (this.#busy.get(id) ?? 0) + 1);
    const end = () => {
      const left = (this.#busy.get(id) ?? 1) - 1;
      if (left > 0) this.#busy.set(id, left);
      else this.#busy.delete(id);
      if (left <= 0 && this.#missed.delete(id)) this.#lookLater(id);
    };
    try {
      const answer = await call();
      end();
      return answer;
    } catch (error) {
      end();
      await this.#look(id).catch(() => {});
      throw error;
    }
  }

  /** True unless it is there and not over. */
  async #look(id: string): Promise<boolean> {
    const uid = this.#owner.get(id);
    if (uid === undefined) return true;
    if (!this.#pods.get(uid)?.containers.has(id)) return (await this.lookAtSandbox(id))?.ready !== true;
    const state = (await this.lookAtContainer(id))?.state;
    return state === undefined || state === 'exited' || state === 'unknown';
  }

  /** Looks until the runtime has taken note of an exit too; nothing would tell us later. */
  async #lookForExit(id: string): Promise<void> {
    for (const pause of EXIT_PAUSES_MS) {
      await this.#options.clock.sleep(pause);
      if (this.#isOver(id)) return;
      if (this.#busy.has(id)) return void this.#missed.add(id);
      if (await this.#look(id)) return;
    }
  }

  /** For an exit during a call of ours: the caller may have looked too soon, as after a start that ended at once. */
  #lookLater(id: string): void {
    void this.#settling
      .run(() => this.#lookForExit(id))
      .catch((error: unknown) => {
        this.#warn('status', error);
        return this.resync();
      })
      .catch(() => {});
  }

  #isOver(id: string): boolean {
    const uid = this.#owner.get(id);
    const entry = uid === undefined ? undefined : this.#pods.get(uid);
    const container = entry?.containers.get(id);
    if (container) return container.state === 'exited';
    return entry?.sandboxes.get(id)?.ready !== true;
  }

  /** Never throws. False if the runtime could not be asked: then only a {@link resync} tells what happened. */
  async handle(event: RuntimeEvent): Promise<boolean> {
    if (event.type !== 'container') return true;
    // Ids we do not know are our own creations still under way, or somebody else's.
    const uid = this.#owner.get(event.containerId);
    if (uid === undefined || event.kind === 'created') return true;
    if (this.#busy.has(event.containerId)) {
      if (event.early) this.#missed.add(event.containerId);
      return true;
    }
    const known = this.#pods.get(uid)?.containers.get(event.containerId);
    if (known && event.kind === 'started' && known.state === 'running') return true;
    if (known && event.kind === 'exited' && known.state === 'exited') return true;
    try {
      if (event.early) await this.#settling.run(() => this.#lookForExit(event.containerId));
      else await this.#look(event.containerId);
      return true;
    } catch (error) {
      this.#warn('status', error);
      return false;
    }
  }

  /** Reads a known container's status again. */
  async lookAtContainer(id: string, signal?: AbortSignal): Promise<ObservedContainer | undefined> {
    const uid = this.#owner.get(id);
    const known = uid === undefined ? undefined : this.#pods.get(uid)?.containers.get(id);
    const entry = uid === undefined ? undefined : this.#pods.get(uid);
    if (known === undefined || entry === undefined) return undefined;
    return this.#readContainer(entry, id, known.sandboxId, signal);
  }

  async lookAtSandbox(id: string, signal?: AbortSignal): Promise<ObservedSandbox | undefined> {
    const uid = this.#owner.get(id);
    const entry = uid === undefined ? undefined : this.#pods.get(uid);
    if (entry === undefined) return undefined;
    try {
      const status = await this.#options.runtime.podSandboxStatus(id, signal ? { signal } : {});
      const before = entry.sandboxes.get(id);
      const sandbox = { ...observedSandbox(status), stale: before?.stale ?? false };
      // A sandbox that is down has lost its addresses; its pod still shows the one it had.
      const ips = sandbox.ips.length > 0 ? sandbox.ips : (before?.ips ?? []);
      if (this.#owner.has(id)) this.putSandbox(entry, { ...sandbox, ips });
      return sandbox;
    } catch (error) {
      if (errorCode(error) !== 'CRI_NOT_FOUND') throw error;
      this.drop(id);
      return undefined;
    }
  }

  /** Lists everything; asks for details only where the list tells something new. One at a time. */
  resync(): Promise<void> {
    this.#again = true;
    this.#listing ??= this.#resyncLoop().finally(() => {
      this.#listing = undefined;
    });
    return this.#listing;
  }

  async #resyncLoop(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      this.#touched = new Set();
      try {
        await this.#list();
        this.#synced = true;
      } finally {
        this.#touched = undefined;
      }
    }
  }

  async #list(): Promise<void> {
    const { runtime } = this.#options;
    const [sandboxes, containers] = await Promise.all([runtime.listPodSandboxes(), runtime.listContainers()]);
    const seen = new Set<string>();
    const owners = new Map<string, RuntimePod>();
    const looks: (() => Promise<unknown>)[] = [];
    for (const sandbox of sandboxes) {
      const pod = ownerOf(sandbox);
      if (pod === undefined) continue;
      seen.add(sandbox.id);
      owners.set(sandbox.id, pod);
      const known = this.#pods.get(pod.uid)?.sandboxes.get(sandbox.id);
      if (known?.ready === (sandbox.state === 'SANDBOX_READY') || this.#touched?.has(sandbox.id)) continue;
      this.#enter(pod, sandbox.id);
      if (known === undefined) this.#entry(pod).sandboxes.set(sandbox.id, observedSandbox(sandbox));
      looks.push(() => this.lookAtSandbox(sandbox.id));
    }
    for (const container of containers) {
      const pod = owners.get(container.podSandboxId);
      if (pod === undefined) continue;
      seen.add(container.id);
      const known = this.#pods.get(pod.uid)?.containers.get(container.id);
      const same = known !== undefined && `CONTAINER_${known.state.toUpperCase()}` === container.state;
      if (same || this.#touched?.has(container.id)) continue;
      this.#enter(pod, container.id);
      looks.push(() => this.#readContainer(this.#entry(pod), container.id, container.podSandboxId));
    }
    for (const id of [...this.#owner.keys()]) if (!seen.has(id) && !this.#touched?.has(id)) this.drop(id);
    await inParallel(looks, 8);
  }

  #enter(pod: RuntimePod, id: string): void {
    this.#owner.set(id, pod.uid);
    this.#entry(pod);
  }

  async #readContainer(
    pod: RuntimePod,
    id: string,
    sandboxId: string,
    signal?: AbortSignal,
  ): Promise<ObservedContainer | undefined> {
    const { runtime, clock, completeExit } = this.#options;
    try {
      const status = await runtime.containerStatus(id, signal ? { signal } : {});
      const now = { wall: clock.now(), monotonic: clock.monotonic() };
      const container = observedContainer(status, sandboxId, now);
      if (container.state === 'exited' && completeExit) {
        const words = await completeExit(container, status.mounts).catch(() => '');
        container.message = [container.message, words].filter((text) => text !== '').join(': ');
      }
      if (this.#owner.has(id)) this.putContainer(pod, container);
      return container;
    } catch (error) {
      if (errorCode(error) !== 'CRI_NOT_FOUND') throw error;
      this.drop(id);
      return undefined;
    }
  }

  #entry(pod: RuntimePod): Entry {
    let entry = this.#pods.get(pod.uid);
    if (entry === undefined) {
      const { uid, namespace, name } = pod;
      entry = { uid, namespace, name, sandboxes: new Map(), containers: new Map(), view: undefined };
      this.#pods.set(uid, entry);
    }
    return entry;
  }

  #dirty(uid: string): void {
    const entry = this.#pods.get(uid);
    if (entry) entry.view = undefined;
    this.#options.changed(uid);
  }

  #warn(what: string, error: unknown): void {
    this.#options.log.warn('the container runtime did not answer a question', { what, error: describeError(error) });
  }
}

/** Sandboxes without a pod uid were not made by a kubelet. */
function ownerOf(sandbox: PodSandbox): RuntimePod | undefined {
  const uid = sandbox.labels[POD_UID] || sandbox.metadata.uid;
  if (!uid) return undefined;
  return {
    uid,
    namespace: sandbox.labels[POD_NAMESPACE] || sandbox.metadata.namespace,
    name: sandbox.labels[POD_NAME] || sandbox.metadata.name,
  };
}

async function inParallel(work: (() => Promise<unknown>)[], width: number): Promise<void> {
  let next = 0;
  let failed: unknown;
  const lane = async () => {
    for (let run = work[next++]; run !== undefined; run = work[next++])
      await run().catch((error: unknown) => {
        failed ??= error;
      });
  };
  await Promise.all(Array.from({ length: Math.min(width, work.length) }, lane));
  if (failed !== undefined) throw failed;
}
