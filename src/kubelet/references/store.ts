import { type Clock, type Component, describeError, type Logger, orAbort } from '../../core/index.ts';
import { isNotFound } from '../../kube/index.ts';
import { onceAllowed } from './allowed.ts';
import { type Follower, follow } from './follower.ts';
import {
  absentError,
  isRootCa,
  objectPath,
  type Reference,
  type ReferenceApi,
  type Referenced,
  referenceKey,
  trim,
  unknownError,
} from './reference.ts';

/**
 * ConfigMaps and Secrets for the pods of this node. Objects are got when asked for and shared by all who ask at the
 * same time; those that lie in running pods' volumes are watched one by one (a node may watch nothing wider), at most
 * {@link MAX_WATCHES} at a time since each holds a stream of the one connection (of 1.21's servers: a connection), the
 * rest looked at now and then. Immutable ones and the cluster's CA are not watched. While the server is away the last
 * known content stands.
 */
export interface References extends Component {
  /** Throws AgentError `REFERENCE_ABSENT` or `REFERENCE_UNKNOWN`, with upstream's texts. */
  get(ref: Reference, signal: AbortSignal): Promise<Referenced>;
  /** What a pod names; replaces what was said of it before. */
  hold(podUid: string, refs: HeldReferences): void;
  release(podUid: string): void;
  /** Called when a held object was created, changed or deleted. */
  onChange(handler: (ref: Reference, holders: ReadonlySet<string>) => void): () => void;
}

export interface HeldReferences {
  /** In volumes: watched. */
  followed: readonly Reference[];
  /** In environments and pull secrets: only their last known content is kept, for restarts without a server. */
  kept: readonly Reference[];
}

export interface ReferencesOptions {
  client: ReferenceApi;
  clock: Clock;
  log: Logger;
}

const MAX_WATCHES = 64;
/** An object got this long ago may be given again: twenty pods of one Deployment start within it. */
const FRESH_MS = 1_000;
const ROOT_CA_FRESH_MS = 10 * 60_000;
/** How often what could not be watched is looked at. */
const POLL_MS = 30_000;
/** Objects nobody holds are forgotten beyond this many. */
const MAX_IDLE = 64;

interface Entry {
  readonly ref: Reference;
  /** Pods that have it in a volume. */
  readonly holders: Set<string>;
  /** Pods that have it elsewhere. */
  readonly keepers: Set<string>;
  object: Referenced | undefined;
  absent: boolean;
  /** It could not be got last time: someone may wait for it. */
  failed: boolean;
  /** Monotonic; when the object was last known to be current. */
  seenAt: number;
  loading: Promise<void> | undefined;
  follower: Follower | undefined;
}

function isIdle(entry: Entry): boolean {
  return entry.holders.size === 0 && entry.keepers.size === 0;
}

export function createReferences(options: ReferencesOptions): References {
  const { client, clock, log } = options;
  const entries = new Map<string, Entry>();
  const heldBy = new Map<string, Set<string>>();
  const handlers = new Set<(ref: Reference, holders: ReadonlySet<string>) => void>();
  const abort = new AbortController();
  let life: AbortSignal = abort.signal;
  let cancelPoll: (() => void) | undefined;

  function entryOf(ref: Reference): Entry {
    const key = referenceKey(ref);
    let entry = entries.get(key);
    if (!entry) {
      entry = {
        ref,
        holders: new Set(),
        keepers: new Set(),
        object: undefined,
        absent: false,
        failed: false,
        seenAt: Number.NEGATIVE_INFINITY,
        loading: undefined,
        follower: undefined,
      };
      entries.set(key, entry);
      forgetIdle();
    }
    return entry;
  }

  function forgetIdle(): void {
    if (entries.size - heldCount() <= MAX_IDLE) return;
    for (const [key, entry] of entries)
      if (isIdle(entry) && !entry.loading) {
        entries.delete(key);
        return;
      }
  }

  function heldCount(): number {
    let count = 0;
    for (const entry of entries.values()) if (!isIdle(entry)) count++;
    return count;
  }

  function accept(entry: Entry, object: Referenced | undefined): void {
    const before = entry.object?.metadata?.resourceVersion;
    const known = entry.object !== undefined || entry.absent;
    const after = object?.metadata?.resourceVersion;
    entry.object = object && trim(object);
    entry.absent = object === undefined;
    entry.seenAt = clock.monotonic();
    const wasFailed = entry.failed;
    entry.failed = false;
    if (!wasFailed && (!known || before === after)) return;
    for (const handler of handlers)
      try {
        handler(entry.ref, entry.holders);
      } catch (error) {
        log.error('a handler failed on a changed reference', {
          reference: referenceKey(entry.ref),
          error: describeError(error),
        });
      }
  }

  async function load(entry: Entry): Promise<void> {
    const ask = () => client.get<Referenced>(objectPath(entry.ref), { signal: life });
    try {
      accept(entry, await onceAllowed(ask, clock, life));
    } catch (error) {
      if (isNotFound(error)) return accept(entry, undefined);
      entry.failed = true;
      throw error;
    }
  }

  function current(entry: Entry): boolean {
    if (entry.object === undefined && !entry.absent) return false;
    if (entry.follower?.live) return true;
    if (entry.object?.immutable && entry.holders.size > 0) return true;
    const fresh = isRootCa(entry.ref) && entry.object ? ROOT_CA_FRESH_MS : FRESH_MS;
    return clock.monotonic() - entry.seenAt < fresh;
  }

  async function refresh(entry: Entry): Promise<void> {
    entry.loading ??= load(entry).finally(() => {
      entry.loading = undefined;
    });
    await entry.loading;
  }

  function wantsWatch(entry: Entry): boolean {
    return entry.holders.size > 0 && !isRootCa(entry.ref) && !entry.object?.immutable;
  }

  /** Starts and ends watches so that what is held is watched, as far as the bound allows. */
  function arrange(): void {
    if (life.aborted) return;
    let watching = 0;
    let waiting = false;
    for (const entry of entries.values()) {
      if (entry.follower && !wantsWatch(entry)) {
        entry.follower.stop();
        entry.follower = undefined;
      }
      if (entry.follower) watching++;
    }
    for (const entry of entries.values()) {
      if (entry.follower || !wantsWatch(entry)) continue;
      if (watching >= MAX_WATCHES) {
        waiting = true;
        continue;
      }
      watching++;
      entry.follower = follow({
        client,
        clock,
        ref: entry.ref,
        signal: life,
        version: () => entry.object?.metadata?.resourceVersion,
        found: (object) => {
          accept(entry, object);
          if (object?.immutable) arrange();
        },
        reload: () => refresh(entry),
      });
    }
    if (!waiting) {
      cancelPoll?.();
      cancelPoll = undefined;
    } else cancelPoll ??= clock.after(POLL_MS, poll);
  }

  function poll(): void {
    cancelPoll = undefined;
    const waiting = [...entries.values()].filter((e) => wantsWatch(e) && !e.follower);
    void (async () => {
      // One after the other: nobody waits for these.
      for (const entry of waiting) await refresh(entry).catch(() => {});
      arrange();
    })();
  }

  function drop(podUid: string, keys: ReadonlySet<string>): void {
    const held = heldBy.get(podUid);
    if (!held) return;
    for (const key of keys) {
      held.delete(key);
      const entry = entries.get(key);
      entry?.holders.delete(podUid);
      entry?.keepers.delete(podUid);
      if (entry && isIdle(entry)) {
        entry.follower?.stop();
        entries.delete(key);
      }
    }
    if (held.size === 0) heldBy.delete(podUid);
  }

  return {
    async start(signal) {
      life = AbortSignal.any([signal, abort.signal]);
    },
    async stop() {
      abort.abort();
      cancelPoll?.();
      for (const entry of entries.values()) entry.follower?.stop();
    },
    async get(ref, signal) {
      const entry = entryOf(ref);
      if (!current(entry)) {
        try {
          await orAbort(refresh(entry), signal);
        } catch (error) {
          if (signal.aborted) throw error;
          // The last known content is better than none: a board may be without its server for days.
          if (entry.object === undefined) throw unknownError(ref, error);
        }
      }
      if (entry.object === undefined) throw absentError(ref);
      return entry.object;
    },
    hold(podUid, { followed, kept }) {
      const byKey = (refs: readonly Reference[]) => new Map(refs.map((ref) => [referenceKey(ref), ref]));
      const [volumes, others] = [byKey(followed), byKey(kept)];
      const held = heldBy.get(podUid) ?? new Set<string>();
      drop(podUid, new Set([...held].filter((key) => !volumes.has(key) && !others.has(key))));
      if (volumes.size + others.size > 0) heldBy.set(podUid, held);
      for (const [key, ref] of volumes) {
        held.add(key);
        entryOf(ref).holders.add(podUid);
      }
      for (const [key, ref] of others) {
        held.add(key);
        entryOf(ref).keepers.add(podUid);
      }
      arrange();
    },
    release(podUid) {
      drop(podUid, new Set(heldBy.get(podUid)));
      arrange();
    },
    onChange(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  };
}
