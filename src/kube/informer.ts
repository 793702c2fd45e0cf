import {
  type Backoff,
  type Clock,
  type Component,
  createBackoff,
  describeError,
  type Logger,
  sayOnce,
} from '../core/index.ts';
import type { KubeClient } from './client.ts';
import { isExpired, isTransient, KubeError } from './errors.ts';
import { type KubeObject, objectKey } from './types.ts';

export interface InformerOptions<T> {
  client: Pick<KubeClient, 'get' | 'watch' | 'onReachable'>;
  /** Collection path, such as `/api/v1/pods`. */
  path: string;
  fieldSelector?: string;
  labelSelector?: string;
  /**
   * Trims an object before it is kept; managedFields are always dropped. Undefined drops the object, as does a throw,
   * which is logged.
   */
  transform?: (object: T) => T | undefined;
  log: Logger;
  clock: Clock;
}

export interface Change<T> {
  type: 'added' | 'updated' | 'deleted';
  key: string;
  object: T;
  /** The version before; for `updated` only. */
  old?: T;
}

/** A watch that ends sooner without a word is not opened again at once. */
const SHORT_WATCH_MS = 1_000;
/** A server on an SQL database looks once a second for what the others wrote. */
const BEHIND_MS = 3_000;

interface ListAnswer<T> {
  metadata?: { resourceVersion?: string; continue?: string };
  items?: T[];
}

/**
 * A local copy of a collection, kept current by list + watch with bookmarks. Breaks are resumed from the last
 * resourceVersion; 410 lists anew and reports what changed meanwhile, deletions included. While the server is away the
 * copy stays as it was: nothing is reported as deleted on doubt.
 */
export class Informer<T extends KubeObject> implements Component {
  readonly #options: InformerOptions<T>;
  readonly #items = new Map<string, T>();
  readonly #handlers = new Set<(change: Change<T>) => void>();
  readonly #once = sayOnce();
  readonly #backoff: Backoff = createBackoff({ initialMs: 300, maxMs: 5_000, jitter: 0.5 });
  #syncedResolve: () => void = () => {};
  readonly #syncedPromise = new Promise<void>((resolve) => {
    this.#syncedResolve = resolve;
  });
  #synced = false;
  #version: string | undefined;
  #expired = false;
  #loop: Promise<void> | undefined;
  #abort = new AbortController();
  lastError: string | undefined;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
  }

  /** Begins listing and watching; does not wait for the first answer (see {@link whenSynced}). */
  async start(signal: AbortSignal): Promise<void> {
    this.#loop ??= this.#run(AbortSignal.any([signal, this.#abort.signal]));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  get synced(): boolean {
    return this.#synced;
  }

  /** Resolves after the first complete list. */
  whenSynced(): Promise<void> {
    return this.#syncedPromise;
  }

  get(key: string): T | undefined {
    return this.#items.get(key);
  }

  list(): T[] {
    return [...this.#items.values()];
  }

  /** Calls `handler` for what is there now (as added) and for every change; returns the unsubscriber. */
  subscribe(handler: (change: Change<T>) => void): () => void {
    for (const [key, object] of this.#items) this.#call(handler, { type: 'added', key, object });
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, log, path } = this.#options;
    let expiries = 0;
    let away = false;
    while (!signal.aborted) {
      const began = clock.monotonic();
      try {
        if (away && this.#version !== undefined && (await this.#wentBack(this.#version, signal))) {
          log.warn('the server has an older state than before, as after a restored backup; listing anew', { path });
          this.#version = undefined;
          this.#expired = true;
        }
        away = false;
        if (this.#version === undefined) await this.#list(signal);
        const heard = await this.#watch(signal);
        if (heard) expiries = 0;
        // Ended in order: go on at once, unless the server ends every watch as it begins.
        if (!heard && clock.monotonic() - began < SHORT_WATCH_MS) await this.#pause(this.#backoff.next(), signal);
      } catch (error) {
        if (signal.aborted) return;
        away ||= error instanceof KubeError && error.status === 0;
        if (isExpired(error)) {
          expiries++;
          this.#version = undefined;
          this.#expired = true;
        }
        this.lastError = describeError(error);
        if (this.#once.changed('error', this.lastError))
          log.warn('a watch broke, retrying', { path, error: this.lastError });
        const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
        // The first list after a 410 is not waited for; a server that answers each with a 410 is met with pauses.
        const ms = isExpired(error) && expiries === 1 ? 50 : Math.max(this.#backoff.next(), Math.min(asked, 30_000));
        await this.#pause(ms, signal);
      }
    }
  }

  /** Ends early when the server answers again. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#options;
    const cut = new AbortController();
    const unsubscribe = client.onReachable(() => cut.abort());
    await clock.sleep(ms, AbortSignal.any([signal, cut.signal])).catch(() => {});
    unsubscribe();
  }

  /**
   * True if the server's state is older than what we know: it was restored while it was away. A watch from a version that
   * is still to come is accepted and stays silent until then, for days. Costs one empty list after each absence.
   */
  async #wentBack(version: string, signal: AbortSignal): Promise<boolean> {
    const { client, clock, path, fieldSelector, labelSelector } = this.#options;
    const nothing = [fieldSelector, 'metadata.name=none'].filter((text) => text !== undefined).join();
    try {
      const query = { fieldSelector: nothing, labelSelector, limit: 1 };
      for (let again = false; ; again = true) {
        const answer: ListAnswer<T> | undefined = await client.get(path, { query, signal });
        if (!(Number(answer?.metadata?.resourceVersion) < Number(version))) return false;
        if (again) return true;
        // Another server of the same cluster may be behind by a moment.
        await clock.sleep(BEHIND_MS, signal);
      }
    } catch (error) {
      if (signal.aborted || isTransient(error)) throw error;
      return false; // a server that does not answer this question
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, path, fieldSelector, labelSelector } = this.#options;
    const seen = new Set<string>();
    let next: string | undefined;
    let version: string | undefined;
    do {
      // "0" may be answered from the server's watch cache; after a 410 that cache may be the stale one.
      const first = this.#expired || next !== undefined ? {} : { resourceVersion: '0' };
      const answer: ListAnswer<T> = await client.get(path, {
        query: { fieldSelector, labelSelector, limit: 500, continue: next, ...first },
        timeoutMs: 60_000,
        signal,
      });
      version = answer.metadata?.resourceVersion ?? '0';
      next = answer.metadata?.continue || undefined;
      for (const item of answer.items ?? []) {
        const key = this.#put(item);
        if (key !== undefined) seen.add(key);
      }
    } while (next !== undefined);
    for (const key of [...this.#items.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#version = version;
    this.#expired = false;
    this.#synced = true;
    this.#syncedResolve();
  }

  /** True if anything came before the server ended it. */
  async #watch(signal: AbortSignal): Promise<boolean> {
    const { client, log, path, fieldSelector, labelSelector } = this.#options;
    // A spread of lengths, so that a fleet does not come back in step.
    const timeoutSeconds = 300 + Math.floor(Math.random() * 300);
    const query = { fieldSelector, labelSelector, resourceVersion: this.#version, timeoutSeconds };
    const onOpen = () => {
      if (this.lastError !== undefined) log.info('the watch goes on', { path });
      this.lastError = undefined;
      this.#once.clear('error');
    };
    let heard = false;
    for await (const event of client.watch<T>({ path, query, signal, onOpen })) {
      if (event.type === 'ERROR') {
        const status = event.object as unknown as { code?: number; message?: string; reason?: string };
        throw new KubeError({
          status: status.code ?? 500,
          message: status.message ?? 'the watch ended with an error',
          ...(status.reason ? { reason: status.reason } : {}),
        });
      }
      onOpen();
      heard = true;
      this.#backoff.reset();
      if (event.object?.metadata === undefined) continue;
      if (event.type === 'DELETED') this.#remove(objectKey(event.object), event.object);
      else if (event.type !== 'BOOKMARK') this.#put(event.object);
      this.#version = event.object.metadata.resourceVersion ?? this.#version;
    }
    return heard;
  }

  #put(raw: T): string | undefined {
    if (raw?.metadata?.name === undefined) return undefined;
    delete raw.metadata.managedFields;
    const key = objectKey(raw);
    const object = this.#transform(raw, key);
    if (object === undefined) return undefined;
    const old = this.#items.get(key);
    if (old !== undefined && old.metadata.uid !== object.metadata.uid)
      this.#remove(key, old); // deleted and made anew unseen
    else if (old !== undefined && old.metadata.resourceVersion === object.metadata.resourceVersion) return key;
    const kept = this.#items.get(key);
    this.#items.set(key, object);
    this.#emit(kept === undefined ? { type: 'added', key, object } : { type: 'updated', key, object, old: kept });
    return key;
  }

  /** One object that can't be trimmed must not end the list of all others, again and again. */
  #transform(raw: T, key: string): T | undefined {
    const { transform, log, path } = this.#options;
    try {
      return transform ? transform(raw) : raw;
    } catch (error) {
      const text = describeError(error);
      if (this.#once.changed(`object ${key}`, text)) log.error('an object can not be used', { path, key, error: text });
      return undefined;
    }
  }

  #remove(key: string, last?: T): void {
    const object = last ?? this.#items.get(key);
    if (!this.#items.delete(key) || object === undefined) return;
    this.#emit({ type: 'deleted', key, object });
  }

  #emit(change: Change<T>): void {
    for (const handler of this.#handlers) this.#call(handler, change);
  }

  #call(handler: (change: Change<T>) => void, change: Change<T>): void {
    try {
      handler(change);
    } catch (error) {
      // One bad object must not end the watch of all others.
      this.#options.log.error('a handler failed on an object', {
        path: this.#options.path,
        key: change.key,
        error: describeError(error),
      });
    }
  }
}
