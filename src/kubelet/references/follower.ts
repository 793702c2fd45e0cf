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
  /** resourceVersion to go on from; undefined lets the server begin with the object as it is. */
  version(): string | undefined;
  found(object: Referenced | undefined): void;
  /** Asks for the object anew, after the server forgot the version. */
  reload(): Promise<void>;
}

/** A watch that has said nothing yet is taken to stand after this long. */
const SETTLE_MS = 1_000;

/** Watches one object by name until stopped; breaks are resumed with a backoff, and at once when the server is back. */
export function follow(options: FollowOptions): Follower {
  const { client, clock, ref, found, reload } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const backoff = createBackoff({ initialMs: 500, maxMs: 30_000, jitter: 0.5 });
  let live = false;
  let version: string | undefined;

  async function watch(): Promise<void> {
    version ??= options.version();
    const query = {
      fieldSelector: `metadata.name=${ref.name}`,
      resourceVersion: version,
      // A version too old costs one get; bookmarks would cost bytes each minute for objects that hardly ever change.
      allowWatchBookmarks: false,
      timeoutSeconds: 420 + Math.floor(Math.random() * 180),
    };
    const settled = clock.after(SETTLE_MS, () => {
      live = true;
    });
    try {
      for await (const event of client.watch<Referenced>({ path: collectionPath(ref), query, signal })) {
        if (event.type === 'ERROR') {
          const status = event.object as { code?: number; message?: string };
          throw new KubeError({ status: status.code ?? 500, message: status.message ?? 'the watch ended' });
        }
        live = true;
        backoff.reset();
        if (event.object?.metadata === undefined) continue;
        version = event.object.metadata.resourceVersion ?? version;
        if (event.object.metadata.name !== ref.name || event.type === 'BOOKMARK') continue;
        found(event.type === 'DELETED' ? undefined : event.object);
      }
    } finally {
      settled();
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
      try {
        await watch();
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
