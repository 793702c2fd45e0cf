import { join } from 'node:path';
import { type Clock, createBackoff, describeError, isAbort, type Logger } from '../../core/index.ts';
import { type Exec, exists } from '../../host/index.ts';
import type { KubeClient, Node, Pod, Volume } from '../../kube/index.ts';
import type { Csi } from '../csi/index.ts';
import type { MountedVolume, Notice } from '../materials.ts';
import { createPluginWatcher } from '../plugins/index.ts';
import type { References, Tokens } from '../references/index.ts';
import type { SetUp } from './claims/index.ts';
import type { Layout } from './layout.ts';
import type { Mounter } from './mounter.ts';

/** What is asked of the API server for volumes that outlive pods. */
export type StorageApi = Pick<KubeClient, 'get' | 'create' | 'replace' | 'patch'>;

/** The node as storage sees it: its object, and whom to tell. */
export interface StorageNode {
  client: StorageApi;
  serverMinor: number;
  /** The Node as last seen at the server. */
  node(): Node | undefined;
  /** Calls after each change of the Node; returns the unsubscriber. */
  onNode(handler: () => void): () => void;
  /** `volumesInUse` has another answer. */
  inUseChanged(): void;
  event(pod: Pod, notice: Notice): void;
}

export interface StorageOptions extends StorageNode {
  layout: Layout;
  mounter: Mounter;
  exec: Exec;
  references: References;
  tokens: Tokens;
  clock: Clock;
  log: Logger;
  facts(): { name: string; labels: Readonly<Record<string, string>> };
}

/**
 * Volumes behind claims and drivers. On a board without any of them it costs one inotify watch and, at the start, one
 * request: the code behind claims, and that behind CSI, are loaded by the first pod or driver that needs them.
 */
export interface Storage {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Throws AgentError with upstream's text. What stands already is given again without a question to anybody. */
  setUp(pod: Pod, volume: Volume, renewals: number[], signal: AbortSignal): Promise<MountedVolume>;
  /** Before anything below the pod's folder is unmounted. Throws `VOLUME_TEARDOWN`: call again later. */
  tearDown(podUid: string, signal: AbortSignal): Promise<void>;
  /** Once all pods are known and those that are gone were torn down: what nobody uses is unstaged. */
  sweep(): Promise<void>;
  /** Undefined while nothing is known of any. */
  volumesInUse(): string[] | undefined;
  onMayBeReady(handler: (podUid: string) => void): void;
}

interface Held {
  mounted: MountedVolume;
  dueAt: number;
}

const ANNOUNCE_MS = 2_000;

export function createStorage(options: StorageOptions): Storage {
  const { layout, clock, log } = options;
  const held = new Map<string, Held>();
  const handlers = new Set<(podUid: string) => void>();
  const abort = new AbortController();
  let life: AbortSignal = abort.signal;
  let loading: Promise<Csi> | undefined;
  let loaded: Csi | undefined;

  const csi = (): Promise<Csi> => {
    loading ??= import('../csi/index.ts').then(({ createCsi }) => {
      loaded = createCsi({ ...options, node: options, nodeName: options.facts().name });
      loaded.onDriver((podUid) => {
        for (const handler of handlers) handler(podUid);
      });
      return loaded;
    });
    return loading;
  };

  const plugins = createPluginWatcher({
    directory: join(layout.rootDir, 'plugins_registry'),
    handlers: {
      CSIPlugin: {
        register: async (info, socket, signal) => (await csi()).register(info, socket, signal),
        unregister: (info) => loaded?.unregister(info),
      },
    },
    clock,
    log,
  });

  /** Every node has a CSINode; it is made beside all else, as soon as there is a Node. */
  async function announce(): Promise<void> {
    // Nobody waits for it, and while the node joins others do.
    await clock.sleep(ANNOUNCE_MS, life).catch(() => {});
    const { ensureCsiNode } = await import('../csi/csi-node.ts');
    const pauses = createBackoff({ initialMs: 2_000, maxMs: 120_000 });
    const { client, serverMinor } = options;
    while (!life.aborted)
      try {
        return await ensureCsiNode({ client, nodeName: options.facts().name, serverMinor }, life);
      } catch (error) {
        if (isAbort(error) || life.aborted) return;
        log.debug('the CSINode could not be made', { error: describeError(error) });
        await clock.sleep(pauses.next(), life).catch(() => {});
      }
  }

  return {
    async start(signal) {
      life = AbortSignal.any([signal, abort.signal]);
      if (await exists(join(layout.rootDir, 'plugins/kubernetes.io/csi'))) await (await csi()).recover();
      await plugins.start(life);
      void announce();
    },
    async stop() {
      abort.abort();
      await plugins.stop();
      loaded?.stop();
    },
    async setUp(pod, volume, renewals, signal) {
      const podUid = pod.metadata.uid as string;
      const key = `${podUid}/${volume.name}`;
      const known = held.get(key);
      if (known && clock.monotonic() < known.dueAt) {
        renewals.push(known.dueAt);
        return known.mounted;
      }
      const { setUpStorage } = await import('./claims/index.ts');
      const done: SetUp = await setUpStorage(volume, { ...options, pod, podUid, node: options.facts, csi, signal });
      const dueAt = done.dueAt ?? Number.POSITIVE_INFINITY;
      held.set(key, { mounted: done.mounted, dueAt });
      renewals.push(dueAt);
      return done.mounted;
    },
    async tearDown(podUid, signal) {
      for (const key of held.keys()) if (key.startsWith(`${podUid}/`)) held.delete(key);
      const folder = layout.podDir(podUid);
      if (await exists(join(folder, 'volumes/kubernetes.io~local-volume')))
        await (await import('./claims/format.ts')).releaseDevices(podUid, { ...options, signal });
      // It may know of a volume that never came as far as the pod's folder.
      if (loaded) return loaded.tearDown(podUid, signal);
      const places = ['volumes/kubernetes.io~csi', 'volumeDevices/kubernetes.io~csi'];
      for (const place of places) if (await exists(join(folder, place))) return (await csi()).tearDown(podUid, signal);
    },
    async sweep() {
      await loaded?.sweep();
    },
    volumesInUse: () => loaded?.volumesInUse(),
    onMayBeReady: (handler) => void handlers.add(handler),
  };
}
