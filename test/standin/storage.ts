import { KINDS, type Kind } from './kinds.ts';
import { keyOf, type Obj } from './objects.ts';
import { alreadyExists, conflict, notFound } from './status.ts';

/** One change, as kept in the history and given to listeners. Objects are shared: they must not be changed. */
export interface StoreEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  storage: string;
  version: number;
  object: Obj;
  previous?: Obj;
}

export interface Snapshot {
  version: number;
  objects: Record<string, Obj[]>;
}

/** Events kept per resource; a watch that asks for older ones gets 410, as from a watch cache. */
const HISTORY = 1000;

/**
 * All objects, in memory, with one counter of versions. Synchronous, so that a read and the write that follows from it
 * are one step. Stored objects are never changed in place.
 */
export class Store {
  readonly #objects = new Map<string, Map<string, Obj>>();
  readonly #history = new Map<string, { events: StoreEvent[]; floor: number }>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #version: number;

  constructor(snapshot?: Snapshot) {
    this.#version = snapshot?.version ?? 1;
    for (const kind of KINDS) {
      const objects = new Map<string, Obj>();
      for (const object of snapshot?.objects[kind.storage] ?? [])
        objects.set(keyOf(object.metadata.namespace, object.metadata.name ?? ''), object);
      if (!this.#objects.has(kind.storage)) this.#objects.set(kind.storage, objects);
      this.#history.set(kind.storage, { events: [], floor: this.#version });
    }
  }

  get version(): number {
    return this.#version;
  }

  get(kind: Kind, namespace: string | undefined, name: string): Obj | undefined {
    return this.#table(kind).get(keyOf(kind.namespaced ? namespace : undefined, name));
  }

  /** In the order of their keys, as from etcd. */
  list(kind: Kind, namespace?: string): Obj[] {
    const entries = [...this.#table(kind)].filter(([, o]) => !namespace || o.metadata.namespace === namespace);
    return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  create(kind: Kind, object: Obj): Obj {
    const key = keyOf(object.metadata.namespace, object.metadata.name ?? '');
    if (this.#table(kind).has(key)) throw alreadyExists(kind, object.metadata.name ?? '');
    const stored = this.#stamp(object);
    this.#table(kind).set(key, stored);
    this.#emit({ type: 'ADDED', storage: kind.storage, version: this.#version, object: stored });
    return stored;
  }

  /** Replaces an object. `expected`: the resourceVersion it must still have. */
  update(kind: Kind, object: Obj, expected?: string): Obj {
    const name = object.metadata.name ?? '';
    const key = keyOf(object.metadata.namespace, name);
    const previous = this.#table(kind).get(key);
    if (!previous) throw notFound(kind, name);
    if (expected && expected !== previous.metadata.resourceVersion) throw conflict(kind, name);
    const stored = this.#stamp(object);
    this.#table(kind).set(key, stored);
    this.#emit({ type: 'MODIFIED', storage: kind.storage, version: this.#version, object: stored, previous });
    return stored;
  }

  remove(kind: Kind, namespace: string | undefined, name: string): Obj {
    const key = keyOf(kind.namespaced ? namespace : undefined, name);
    const previous = this.#table(kind).get(key);
    if (!previous) throw notFound(kind, name);
    this.#table(kind).delete(key);
    const last = this.#stamp(previous);
    this.#emit({ type: 'DELETED', storage: kind.storage, version: this.#version, object: last, previous });
    return last;
  }

  /** Calls back synchronously after each change; returns the unsubscriber. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Events after `version`, or undefined when some of them are no longer kept (`floor` tells since when). */
  eventsSince(kind: Kind, version: number): StoreEvent[] | undefined {
    const { events, floor } = this.#historyOf(kind.storage);
    return version < floor ? undefined : events.filter((event) => event.version > version);
  }

  floor(kind: Kind): number {
    return this.#historyOf(kind.storage).floor;
  }

  /** Forgets the history of all resources: every older version is expired from now on. */
  truncateHistory(): void {
    this.#version++;
    for (const history of this.#history.values()) {
      history.events = [];
      history.floor = this.#version;
    }
  }

  snapshot(): Snapshot {
    const objects: Record<string, Obj[]> = {};
    for (const [storage, table] of this.#objects) objects[storage] = [...table.values()];
    return { version: this.#version, objects };
  }

  #table(kind: Kind): Map<string, Obj> {
    return this.#objects.get(kind.storage) as Map<string, Obj>;
  }

  #historyOf(storage: string): { events: StoreEvent[]; floor: number } {
    return this.#history.get(storage) as { events: StoreEvent[]; floor: number };
  }

  #stamp(object: Obj): Obj {
    this.#version++;
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
  }

  #emit(event: StoreEvent): void {
    const history = this.#historyOf(event.storage);
    history.events.push(event);
    if (history.events.length > HISTORY) {
      const dropped = history.events.splice(0, history.events.length - HISTORY);
      history.floor = dropped[dropped.length - 1]?.version ?? history.floor;
    }
    for (const listener of [...this.#listeners]) listener(event);
  }
}
