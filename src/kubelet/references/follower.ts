import { type Clock, createBackoff } from '../../core/index.ts';
import { isExpired, KubeError } from '../../kube/index.ts';
import { collectionPath, type Reference, type ReferenceApi, type Referenced } from './reference.ts';

/** One object under watch. */
export interface Follower {
  /** True while the watch stands: what was found last is then current. */
  readonly live: boolean;
  stop(): void;
}

export interface FollowOptions {
  client: ReferenceApi;
  clock: Clock;
  ref: Reference;
  signal: AbortSignal;
  /** The object was got, or found absent. */
  known(): boolean;
  /** resourceVersion to go on from; undefined lets the server begin with the object as it is. */
  version(): string | undefined;
  found(object: Referenced | undefined): void;
  /** Asks for the object anew, after the server forgot the version. */
  reload(): Promise<void>;
}

/** Watches one object by name until stopped; breaks are resumed with a backoff, and at once when the server is back. */
export function follow(options: FollowOptions): Follower {
  const { client, clock, ref, found, reload } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const backoff = createBackoff({ initialMs: 500, maxMs: 30_000, jitter: 0.5 });
  let live = false;
  let version: string | undefined;

  async function watch(): Promise<void> {
    // Whoever holds an object asks for it too: the watch goes on from that answer.
    if (!options.known()) await reload();
    version ??= options.version();
    const query = {
      fieldSelector: `metadata.name=${ref.name}`,
      resourceVersion: version,
      // A version too old costs one get; bookmarks would cost bytes each minute for objects that hardly ever change.
      allowWatchBookmarks: false,
      timeoutSeconds: 420 + Math.floor(Math.random() * 180),
    };
    const onOpen = () => {
      live = true;
      backoff.reset();
    };
    try {
      for await (const event of client.watch<Referenced>({ path: collectionPath(ref), query, signal, onOpen })) {
        if (event.type === 'ERROR') {
          const status = event.object as { code?: number; message?: string };
          throw new KubeError({ status: status.code ?? 500, message: status.message ?? 'the watch ended' });
        }
        if (event.object?.metadata === undefined) continue;
        version = event.object.metadata.resourceVersion ?? version;
        if (event.object.metadata.name !== ref.name || event.type === 'BOOKMARK') continue;
        found(event.type === 'DELETED' ? undefined : event.object);
      }
    } finally {
      live = false;
    }
  }

  async function pause(): Promise<void> {
    const wake = new AbortController();
    const unsubscribe = client.onReachable(() => wake.abort());
    await clock.sleep(backoff.next(), AbortSignal.any([signal, wake.signal])).catch(() => {});
    unsubscribe();
  }

  void (async () => {
    while (!signal.aborted) {
      const began = clock.monotonic();
      try {
        await watch();
        // Ended in order: go on at once, unless the server ends every watch as it begins.
        if (clock.monotonic() - began < 1_000) await pause();
      } catch (error) {
        if (signal.aborted) return;
        if (isExpired(error)) {
          version = undefined;
          await reload().catch(() => {});
        }
        await pause();
      }
    }
  })();

  return {
    get live() {
      return live;
    },
    stop: () => stop.abort(),
  };
}
