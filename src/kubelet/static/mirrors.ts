import {
  type Backoff,
  type Clock,
  Coalescer,
  type Component,
  createBackoff,
  describeError,
  isAbort,
  type Logger,
  sayOnce,
} from '../../core/index.ts';
import { isConflict, isNotFound, isTransient, type KubeClient, type Pod, type PodStatus } from '../../kube/index.ts';
import type { PodChange } from '../pods/source.ts';
import type { StatusWriter } from '../pods/status/writer.ts';
import { CONFIG_HASH, CONFIG_MIRROR } from './manifest.ts';

type Writer = Pick<StatusWriter, 'set' | 'observe' | 'flush' | 'confirmGone' | 'forget'>;

export interface MirrorOptions {
  client: Pick<KubeClient, 'create' | 'delete' | 'onReachable'>;
  nodeName: string;
  /** The Node's, which owns the mirrors; undefined while it is not registered. */
  nodeUid(): string | undefined;
  /** True while a mirror of nobody may be that of a manifest that can't be read; never when left out. */
  inDoubt?(): boolean;
  clock: Clock;
  log: Logger;
}

interface Entry {
  /** Static pods of that name, the wanted one last: an old one may still be ending. */
  own: Pod[];
  mirror: Pod | undefined;
  /** Uid of the mirror that was deleted last: what the watch still tells of it is old. */
  gone: string | undefined;
  status: PodStatus | undefined;
  /** When it may be tried again after a failure, milliseconds (monotonic). */
  notBefore: number;
  backoff: Backoff;
}

/**
 * Keeps one object at the server for each static pod, so that everybody can see it: made when it is missing, made anew
 * when it is another one's or somebody deletes it, deleted when the pod has ended (kubelet pod/mirror_client.go). Also
 * brings the pod's status there.
 */
export class MirrorKeeper implements Component {
  readonly #options: MirrorOptions;
  /** By `namespace/name`. */
  readonly #entries = new Map<string, Entry>();
  readonly #once = sayOnce();
  readonly #abort = new AbortController();
  readonly #work = new Coalescer(() => this.#reconcile());
  #writer: Writer | undefined;
  #synced = false;
  #cancel: (() => void) | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#unsubscribe = this.#options.client.onReachable(() => {
      for (const entry of this.#entries.values()) entry.notBefore = 0;
      this.poke();
    });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#unsubscribe?.();
    this.#cancel?.();
  }

  /** All pods of both sides are known: a mirror of nobody may go, and one that is not there is missing. */
  bothKnown(): void {
    this.#synced = true;
    this.poke();
  }

  /** A static pod is looked after from now on. */
  add(pod: Pod): void {
    const entry = this.#entry(nameOf(pod));
    entry.own = [...entry.own.filter((one) => one.metadata.uid !== pod.metadata.uid), pod];
    entry.status = undefined;
    entry.notBefore = 0;
    this.poke();
  }

  /** Nothing is left of a static pod. */
  done(pod: Pod): void {
    const entry = this.#entry(nameOf(pod));
    entry.own = entry.own.filter((one) => one.metadata.uid !== pod.metadata.uid);
    this.poke();
  }

  /** The server has another version of a mirror. */
  observed({ type, pod }: PodChange): void {
    const entry = this.#entry(nameOf(pod));
    if (type === 'removed') {
      if (entry.mirror?.metadata.uid === pod.metadata.uid) entry.mirror = undefined;
      this.#writer?.forget(pod.metadata.uid as string);
    } else if (entry.gone !== pod.metadata.uid) {
      const isNew = entry.mirror?.metadata.uid !== pod.metadata.uid;
      entry.mirror = pod;
      if (fits(entry)) {
        this.#writer?.observe(pod, entry.status);
        if (isNew && entry.status) this.#writer?.set(pod, entry.status, 0);
      }
    }
    this.poke();
  }

  /** The uid of the pod that runs, where a mirror's is given; else the same. */
  translate(uid: string): string {
    for (const { mirror, own } of this.#entries.values())
      if (mirror?.metadata.uid === uid) return own.at(-1)?.metadata.uid ?? uid;
    return uid;
  }

  /** What a static pod's worker writes its status through: it goes to the mirror, or waits for there to be one. */
  statusWriter(writer: Writer): Writer {
    this.#writer = writer;
    return {
      set: (pod, status, delayMs) => {
        const entry = this.#entries.get(nameOf(pod));
        if (entry === undefined || !isWanted(entry, pod)) return;
        entry.status = status;
        if (entry.mirror && fits(entry)) writer.set(entry.mirror, status, delayMs);
      },
      observe: () => {},
      flush: async () => {},
      confirmGone: async () => {},
      forget: () => {},
    };
  }

  poke(): void {
    if (this.#synced) this.#work.poke();
  }

  async #reconcile(): Promise<void> {
    const { clock } = this.#options;
    if (this.#abort.signal.aborted) return;
    this.#cancel?.();
    let next = Number.POSITIVE_INFINITY;
    for (const [name, entry] of this.#entries) {
      if (entry.own.length === 0 && entry.mirror === undefined) this.#entries.delete(name);
      else if (entry.notBefore <= clock.monotonic()) await this.#settle(name, entry);
      if (entry.notBefore > clock.monotonic()) next = Math.min(next, entry.notBefore);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#cancel = clock.after(next - clock.monotonic(), () => this.poke());
  }

  async #settle(name: string, entry: Entry): Promise<void> {
    const { log } = this.#options;
    const { mirror } = entry;
    try {
      // While a pod of the old content ends, its object stays; then it is the new one's turn.
      const isSettled = entry.own.length < 2;
      const isLeaving = mirror?.metadata.deletionTimestamp !== undefined;
      if (entry.own.length === 0 && this.#options.inDoubt?.()) return;
      if (mirror !== undefined && (isLeaving || (isSettled && !fits(entry)))) {
        await this.#delete(mirror);
        entry.gone = mirror.metadata.uid;
        if (entry.mirror === mirror) entry.mirror = undefined;
      }
      const wanted = entry.own.at(-1);
      if (wanted !== undefined && isSettled && entry.mirror === undefined) await this.#create(wanted, entry);
      entry.backoff.reset();
      this.#once.clear(name);
    } catch (error) {
      if (this.#abort.signal.aborted || isAbort(error)) return;
      entry.notBefore = this.#options.clock.monotonic() + entry.backoff.next();
      if (!isTransient(error) && this.#once.changed(name, describeError(error)))
        log.warn('the mirror of a static pod could not be kept at the server', {
          pod: name,
          error: describeError(error),
        });
    }
  }

  async #create(pod: Pod, entry: Entry): Promise<void> {
    const { client, nodeName } = this.#options;
    const owner = this.#options.nodeUid();
    if (owner === undefined) return; // told of by poke() when it is there
    const { namespace = '', annotations, labels, name } = pod.metadata;
    const body = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace,
        ...(labels ? { labels } : {}),
        annotations: { ...annotations, [CONFIG_MIRROR]: annotations?.[CONFIG_HASH] ?? '' },
        ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: owner, controller: true }],
      },
      spec: pod.spec,
    };
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    const made = await client.create<Pod>(path, body, { signal: this.#abort.signal });
    if (made?.metadata?.uid !== undefined && entry.mirror === undefined) this.observed({ type: 'set', pod: made });
  }

  async #delete(mirror: Pod): Promise<void> {
    const { namespace = '', name = '', uid } = mirror.metadata;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    try {
      await this.#options.client.delete(
        path,
        { gracePeriodSeconds: 0, preconditions: { uid } },
        { signal: this.#abort.signal },
      );
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  #entry(name: string): Entry {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = {
        own: [],
        mirror: undefined,
        gone: undefined,
        status: undefined,
        notBefore: 0,
        backoff: createBackoff({ initialMs: 1_000, maxMs: 60_000 }),
      };
      this.#entries.set(name, entry);
    }
    return entry;
  }
}

function nameOf(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

function isWanted(entry: Entry, pod: Pod): boolean {
  return entry.own.at(-1)?.metadata.uid === pod.metadata.uid;
}

/** Whether the mirror shows the pod that is wanted now. */
function fits({ mirror, own }: Entry): boolean {
  const hash = own.at(-1)?.metadata.annotations?.[CONFIG_HASH];
  return mirror !== undefined && hash !== undefined && mirror.metadata.annotations?.[CONFIG_MIRROR] === hash;
}
