import {
  type Clock,
  Coalescer,
  type Component,
  createBackoff,
  describeError,
  isAbort,
  type Logger,
  sayOnce,
} from '../../core/index.ts';
import type { CriImage, RuntimeService, RuntimeStatus } from '../../cri/types.ts';
import { isNotFound, isStatus, type KubeClient, type Node } from '../../kube/index.ts';
import { type Health, nodeConditions, type Pressures } from './conditions.ts';
import { movedAddresses, type NodeIdentity, newNode, nodeAddresses, staticStatus, wasMoved } from './describe.ts';
import { metadataPatch } from './metadata-patch.ts';
import { conditionEvents, type NodeEvent, startEvents } from './node-events.ts';
import { type DesiredStatus, nodeImages, statusPatch, volumesInUse } from './status-patch.ts';
import { parseVersion } from './version.ts';

export interface NodeControllerOptions {
  client: Pick<KubeClient, 'create' | 'get' | 'patch' | 'onReachable'>;
  identity: NodeIdentity;
  runtime: Pick<RuntimeService, 'status' | 'version'>;
  images: () => Promise<CriImage[]>;
  pressure: () => Promise<Pressures>;
  /** How many images the status names; 50 when left out, all when negative. */
  maxImages?: number;
  /** Milliseconds in which the server is told at least once, changed or not; 5 min when left out. */
  reportMs?: number;
  /** What else keeps the node from being ready, in upstream's words. */
  notReady?: () => string | undefined;
  /** Attachable volumes this node uses; undefined while none is known. */
  volumesInUse?: () => string[] | undefined;
  /** Records an event about the Node. */
  event?: (event: NodeEvent) => void;
  clock: Clock;
  log: Logger;
}

/** The server is told at least this often, changed or not (nodeStatusReportFrequency). */
const REPORT_MS = 5 * 60_000;
/** Pressure and the runtime are looked at this often while nothing happens. */
const CHECK_MS = 30_000;
/** A runtime that was up may be away this long, for its restart, before the node counts as not ready (the kubelet's 30 s). */
const RUNTIME_GRACE_MS = 30_000;
/** While the network is all that is missing, it is looked at this often: containerd reads the CNI file by itself. */
const IMPATIENT_MS = 25;

/**
 * Registers the Node and keeps its status true: at once when something changed (a poke, the server's copy differing),
 * else every five minutes. Never writes what is already there.
 */
export class NodeController implements Component {
  readonly #options: NodeControllerOptions;
  #identity: NodeIdentity;
  #identityStale = false;
  readonly #abort = new AbortController();
  readonly #once = sayOnce();
  readonly #backoff = createBackoff({ initialMs: 500, maxMs: 5_000 });
  readonly #work: Coalescer;
  #signal: AbortSignal = this.#abort.signal;
  #loop: Promise<void> | undefined;
  #cleanup: (() => void)[] = [];
  #cancelNext: () => void = () => {};
  #stored: Node | undefined;
  #deleted = false;
  /** The Node was made by this start: nothing of it was told yet. */
  #fresh = false;
  /** Our addresses are not those that the server's copy was made with. */
  #moved = false;
  #images: CriImage[] | undefined;
  /** Look again after so long, whatever the rest says. */
  #again: number | undefined;
  #runtimeVersion: string | undefined;
  #runtimeSeenAt = Number.NEGATIVE_INFINITY;
  #handlers: Record<string, unknown> = {};
  #reportedAt = Number.NEGATIVE_INFINITY;
  #impatientUntil = 0;
  #readyResolve: () => void = () => {};
  #network: string | undefined = 'the runtime was not asked yet';
  readonly #networkWaiters = new Set<() => void>();
  readonly #readyPromise = new Promise<void>((resolve) => {
    this.#readyResolve = resolve;
  });
  /** Empty while the server has been told that the node is ready. */
  notReady: readonly string[] = ['the agent is starting'];
  lastError: string | undefined;

  constructor(options: NodeControllerOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#work = new Coalescer(() => this.#reconcile());
  }

  /** Begins to register and to report; does not wait for the server. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = AbortSignal.any([signal, this.#abort.signal]);
    this.#loop ??= this.#register().then(() => {
      this.#cleanup.push(this.#options.client.onReachable(() => this.poke()));
      this.poke();
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelNext();
    for (const undo of this.#cleanup.splice(0)) undo();
    await this.#loop?.catch(() => {});
    await this.#work.idle();
  }

  /** What the pod network lacks, as the runtime says; undefined while it is there. */
  get networkMissing(): string | undefined {
    return this.#network;
  }

  /** Resolves with the next look at the runtime that finds the network there, at the latest after `ms`. */
  async whenNetwork(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#network === undefined) return;
    const there = new AbortController();
    const wake = () => there.abort();
    // Taken out again: on a board that never gets a network each try of each pod would else stay here.
    this.#networkWaiters.add(wake);
    try {
      await this.#options.clock.sleep(ms, AbortSignal.any([signal, there.signal]));
    } catch (error) {
      if (signal.aborted) throw error;
    } finally {
      this.#networkWaiters.delete(wake);
    }
  }

  /** Resolves when the server has accepted Ready=True for the first time. */
  whenReady(): Promise<void> {
    return this.#readyPromise;
  }

  get uid(): string | undefined {
    return this.#stored?.metadata.uid;
  }

  /** The Node as last seen at the server. */
  get node(): Node | undefined {
    return this.#stored;
  }

  /** Something that the status shows may have changed: look and report. */
  poke(): void {
    this.#impatientUntil = this.#options.clock.monotonic() + 5_000;
    if (this.#stored !== undefined) this.#work.poke();
  }

  /** The board's addresses, labels or annotations changed while running. */
  update(identity: NodeIdentity): void {
    if (identity.ips.join() !== this.#identity.ips.join()) this.#moved = true;
    this.#identity = identity;
    this.#identityStale = true;
    this.poke();
  }

  imagesChanged(): void {
    this.#images = undefined;
    if (this.#stored !== undefined) this.#schedule(2_000); // pulls come in bursts
  }

  /** The server's copy as a watch sees it; undefined = deleted. Someone else's change of our fields is mended. */
  observed(node: Node | undefined): void {
    if (this.#stored === undefined) return;
    if (node === undefined) {
      this.#deleted = true;
      if (this.#once.changed('deleted', 'yes'))
        this.#options.log.warn('the Node object was deleted; restart k3s-agent to join the cluster again');
      return;
    }
    this.#deleted = false;
    this.#once.clear('deleted');
    // Made anew by somebody who knows nothing of our labels and annotations.
    if (node.metadata.uid !== this.#stored.metadata.uid) this.#identityStale = true;
    this.#stored = node;
    const ready = node.status?.conditions?.find((c) => c.type === 'Ready');
    if (this.#identityStale || (ready?.status === 'True') !== (this.notReady.length === 0)) this.#work.poke();
  }

  get deleted(): boolean {
    return this.#deleted;
  }

  async #register(): Promise<void> {
    while (true) {
      try {
        this.#stored = await this.#ensureNode();
        return;
      } catch (error) {
        await this.#failed('the Node could not be registered', error);
      }
    }
  }

  async #ensureNode(): Promise<Node> {
    const { client } = this.#options;
    const identity = this.#identity;
    const path = `/api/v1/nodes/${identity.name}`;
    const status = this.#status(['the agent is starting'], await this.#options.pressure(), []);
    try {
      const node = {
        ...newNode(identity),
        status: { ...status.fields, conditions: status.conditions, addresses: nodeAddresses(identity) },
      };
      const created = await client.create<Node>('/api/v1/nodes', node, { signal: this.#signal });
      this.#fresh = true;
      this.#tell(startEvents(identity.name, undefined, identity.system.bootID));
      return created;
    } catch (error) {
      if (!isStatus(error, 409)) throw error;
    }
    const stored = await client.get<Node>(path, { signal: this.#signal });
    this.#moved = wasMoved(stored, identity);
    this.#tell(startEvents(identity.name, stored.status?.nodeInfo?.bootID, identity.system.bootID));
    const patch = metadataPatch(stored, identity);
    return patch === undefined ? stored : await client.patch<Node>(path, 'merge', patch, { signal: this.#signal });
  }

  async #reconcile(): Promise<void> {
    const { client, clock } = this.#options;
    const identity = this.#identity;
    this.#cancelNext();
    this.#again = undefined;
    try {
      if (this.#identityStale) await this.#updateMetadata();
      const [missing, pressure] = await Promise.all([this.#missing(), this.#options.pressure()]);
      const own = this.#options.notReady?.();
      if (own !== undefined) missing.push(own);
      if (this.#images === undefined) this.#images = await this.#options.images().catch(() => undefined);
      const previous = this.#stored?.status?.conditions ?? [];
      const desired = this.#status(missing, pressure, previous);
      const due = clock.monotonic() - this.#reportedAt >= (this.#options.reportMs ?? REPORT_MS);
      const patch = statusPatch(this.#stored, desired, due);
      if (patch !== undefined && !this.#deleted) {
        this.#stored = await client.patch<Node>(`/api/v1/nodes/${identity.name}/status`, 'strategic', patch, {
          signal: this.#signal,
        });
        if ('conditions' in patch.status) {
          this.#reportedAt = clock.monotonic();
          this.#tell(conditionEvents(identity.name, this.#fresh ? [] : previous, desired.conditions));
          this.#fresh = false;
        }
      }
      if (identity === this.#identity) this.#moved = false;
      this.#said(missing);
      this.lastError = undefined;
      this.#once.clear('error');
      this.#backoff.reset();
      const impatient = missing.length > 0 && clock.monotonic() < this.#impatientUntil;
      this.#schedule(this.#again ?? (impatient ? IMPATIENT_MS : missing.length > 0 ? 2_000 : CHECK_MS));
    } catch (error) {
      if (this.#signal.aborted || isAbort(error)) return;
      if (isNotFound(error)) this.observed(undefined);
      this.#note('the node status could not be written', error);
      this.#schedule(this.#backoff.next());
    }
  }

  async #updateMetadata(): Promise<void> {
    const identity = this.#identity;
    const patch = this.#stored && metadataPatch(this.#stored, identity);
    if (patch !== undefined)
      this.#stored = await this.#options.client.patch<Node>(`/api/v1/nodes/${identity.name}`, 'merge', patch, {
        signal: this.#signal,
      });
    if (identity === this.#identity) this.#identityStale = false;
  }

  #tell(events: readonly NodeEvent[]): void {
    for (const event of events) this.#options.event?.(event);
  }

  #said(missing: readonly string[]): void {
    const { log } = this.#options;
    if (missing.length === 0) {
      if (this.notReady.length > 0) log.info('the node is ready');
      this.#readyResolve();
    } else if (this.#once.changed('ready', missing.join()))
      log.info('the node is not ready yet', { missing: missing.join('; ') });
    this.notReady = missing;
  }

  #status(
    missing: readonly string[],
    pressure: Pressures,
    previous: Parameters<typeof nodeConditions>[1],
  ): DesiredStatus {
    const { clock } = this.#options;
    const identity = this.#identity;
    const health: Health = { ...pressure, notReady: missing };
    // The cloud controller owns the addresses as soon as it has set them. But it looks once a minute only, and until then
    // the server would dial an address that the serving certificate no longer names.
    const known = this.#stored?.status?.addresses ?? [];
    const theirs = this.#moved ? movedAddresses(known, identity) : undefined;
    return {
      fields: {
        ...staticStatus(identity, this.#runtimeVersion ?? ''),
        ...(this.#images ? { images: nodeImages(this.#images, this.#options.maxImages) } : {}),
        ...this.#handlers,
        ...volumesInUse(this.#options.volumesInUse?.(), this.#stored),
      },
      conditions: nodeConditions(health, previous, clock.now()),
      addresses: identity.externalCloud && known.length > 0 ? theirs : nodeAddresses(identity),
    };
  }

  /** What keeps the node from being ready, as the kubelet words it; also notes what the runtime is and can do. */
  async #missing(): Promise<string[]> {
    const { runtime } = this.#options;
    let status: RuntimeStatus;
    try {
      status = await runtime.status({ timeoutMs: 10_000, signal: this.#signal });
      this.#runtimeSeenAt = this.#options.clock.monotonic();
      if (this.#runtimeVersion === undefined) {
        const version = await runtime.version({ timeoutMs: 10_000, signal: this.#signal });
        this.#runtimeVersion = `${version.runtimeName}://${version.runtimeVersion.replace(/^v/, '')}`;
        this.#handlers = this.#describeHandlers(status);
      }
    } catch (error) {
      const gone = this.#options.clock.monotonic() - this.#runtimeSeenAt;
      if (this.notReady.length === 0 && gone < RUNTIME_GRACE_MS) {
        this.#again = 1_000;
        return [];
      }
      this.#runtimeVersion = undefined; // it may come back as another version
      return [`container runtime is down: ${describeError(error)}`];
    }
    const missing: string[] = [];
    let network: string | undefined;
    for (const condition of status.conditions) {
      if (condition.status) continue;
      const what = `${condition.type}=false reason:${condition.reason} message:${condition.message}`;
      if (condition.type === 'NetworkReady') network = `container runtime network not ready: ${what}`;
      else if (condition.type === 'RuntimeReady') missing.push(`container runtime not ready: ${what}`);
    }
    if (network !== undefined) missing.push(network);
    this.#network = network;
    if (network === undefined) for (const wake of this.#networkWaiters) wake();
    return missing;
  }

  #describeHandlers(status: RuntimeStatus): Record<string, unknown> {
    const minor = parseVersion(this.#identity.kubeletVersion)?.[1] ?? 0;
    if (minor < 30 || status.runtimeHandlers.length === 0) return {};
    return {
      runtimeHandlers: status.runtimeHandlers.map(({ name, features }) => ({
        name,
        features: {
          recursiveReadOnlyMounts: features?.recursiveReadOnlyMounts ?? false,
          userNamespaces: features?.userNamespaces ?? false,
        },
      })),
      ...(minor >= 31 && status.features ? { features: status.features } : {}),
    };
  }

  #schedule(ms: number): void {
    this.#cancelNext();
    if (this.#signal.aborted) return;
    this.#cancelNext = this.#options.clock.after(ms, () => this.#work.poke());
  }

  #note(what: string, error: unknown): void {
    this.lastError = `${what}: ${describeError(error)}`;
    if (this.#once.changed('error', this.lastError)) this.#options.log.warn(what, { error: describeError(error) });
  }

  async #failed(what: string, error: unknown): Promise<void> {
    if (this.#signal.aborted || isAbort(error)) throw error;
    this.#note(what, error);
    const wake = new AbortController();
    const unsubscribe = this.#options.client.onReachable(() => wake.abort());
    await this.#options.clock.sleep(this.#backoff.next(), AbortSignal.any([this.#signal, wake.signal])).catch(() => {});
    unsubscribe();
    if (this.#signal.aborted) throw error;
  }
}
