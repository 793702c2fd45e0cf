import { type Clock, createBackoff } from '../../core/index.ts';
import { KubeError } from '../../kube/index.ts';
import { collectionPath, type Reference, type ReferenceApi, type Referenced } from './reference.ts';

const SHORT_WATCH_MS = 1_000;

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
  /** resourceVersion of the object as it is known; undefined if it is not known or absent. */
  version(): string | undefined;
  found(object: Referenced | undefined): void;
  /** Asks for the object anew. */
  reload(): Promise<void>;
}

interface MetadataList {
  metadata?: { resourceVersion?: string };
  items?: { metadata?: { resourceVersion?: string } }[];
}

const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';

/**
 * Watches one object by name until stopped. Breaks are resumed with a backoff, at once when the server is back, and after
 * a look at what is there: the object may be gone, and after a restored backup the server's state is older than what was
 * seen, so that a watch from there would stay silent for days.
 */
export function follow(options: FollowOptions): Follower {
  const { client, clock, ref, found, reload } = options;
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const backoff = createBackoff({ initialMs: 500, maxMs: 30_000, jitter: 0.5 });
  const path = collectionPath(ref);
  const fieldSelector = `metadata.name=${ref.name}`;
  let live = false;
  /** Where to watch from: at first whatever the server has at hand, sent as it is. Undefined: to be asked for. */
  let version: string | undefined = '0';

  async function look(): Promise<string | undefined> {
    const list = await client.get<MetadataList>(path, { query: { fieldSelector }, accept: METADATA_ONLY, signal });
    const item = list.items?.[0];
    if (item === undefined) found(undefined);
    else if (options.version() === undefined || item.metadata?.resourceVersion !== options.version()) await reload();
    return list.metadata?.resourceVersion;
  }

  async function watch(): Promise<void> {
    version ??= await look();
    const query = {
      fieldSelector,
      resourceVersion: version,
      // A version too old costs one look; bookmarks would cost bytes each minute for objects that hardly ever change.
      allowWatchBookmarks: false,
      timeoutSeconds: 420 + Math.floor(Math.random() * 180),
    };
    const onOpen = () => {
      live = true;
    };
    try {
      for await (const event of client.watch<Referenced>({ path, query, signal, onOpen })) {
        if (event.type === 'ERROR') {
          const status = event.object as { code?: number; message?: string };
          throw new KubeError({ status: status.code ?? 500, message: status.message ?? 'the watch ended' });
        }
        backoff.reset();
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
      const broke = await watch().then(
        () => false,
        () => true,
      );
      if (signal.aborted) return;
      // Ended in order: go on at once, unless the server ends every watch as it begins.
      if (!broke && clock.monotonic() - began >= SHORT_WATCH_MS) {
        backoff.reset();
        continue;
      }
      version = undefined;
      await pause();
    }
  })();

  return {
    get live() {
      return live;
    },
    stop: () => stop.abort(),
  };
}
