import { AgentError, describeError, isAbort, sayOnce } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { MountedVolume } from '../materials.ts';
import type { PluginHandler } from '../plugins/index.ts';
import type { SetUp, SetUpContext } from '../volumes/claims/index.ts';
import type { StorageSpec } from '../volumes/claims/spec.ts';
import { mountFailure } from '../volumes/errors.ts';
import { looksOwned, podOwnership } from '../volumes/ownership.ts';
import { createAttachments } from './attach.ts';
import { mapDevice, mappedDevice } from './block.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import { type CsiNodeOptions, installDriver, uninstallDriver } from './csi-node.ts';
import { createDrivers } from './drivers.ts';
import { expandIfLarger } from './expand.ts';
import { holdAttached, mountFilesystem, type Published } from './filesystem.ts';
import { createLocks } from './locks.ts';
import { type CsiDriverObject, getCsiDriver } from './objects.ts';
import { csiPaths, inlineHandle, uniqueName } from './paths.ts';
import { isReadOnly } from './requests.ts';
import { type Begun, tearDownCsi } from './teardown.ts';
import { stagedVolumes, unstageDevice, unstageFilesystem } from './unstage.ts';
import { readVolumeData } from './vol-data.ts';

/** CSI volumes of this node. Loaded only once a driver registers or a pod has such a volume. */
export interface Csi extends PluginHandler {
  /** Throws AgentError with upstream's text. */
  setUp(spec: StorageSpec, context: SetUpContext): Promise<SetUp>;
  /** Throws `VOLUME_TEARDOWN`: call again later. */
  tearDown(podUid: string, signal: AbortSignal): Promise<void>;
  /** Unstages what no pod of this node uses any more: leftovers of a run that was killed, or of a driver that was away. */
  sweep(): Promise<void>;
  /** Goes on saying of staged volumes that they are in use, as a former run did. */
  recover(): Promise<void>;
  volumesInUse(): string[];
  /** Calls with the uid of a pod that waited for a driver, to begin or to end, when one has registered. */
  onDriver(handler: (podUid: string) => void): void;
  stop(): void;
}

export type CsiOptions = Omit<CsiContext, 'paths' | 'drivers' | 'attachments' | 'locks' | 'left'>;

/** Claims can't be watched by a node: how often one is looked at for having grown, and a driver asked to publish anew. */
const LOOK_MS = 60_000;
const SWEEP_RETRY_MS = 30_000;
/** Lock for what the node says of its drivers; no volume is named so. */
const CSI_NODE = '';

export function createCsi(options: CsiOptions): Csi {
  const { node, nodeName, clock, log, layout, mounter } = options;
  const abort = new AbortController();
  const life = abort.signal;
  const context: CsiContext = {
    ...options,
    paths: csiPaths(layout),
    drivers: createDrivers(),
    attachments: createAttachments(options),
    locks: createLocks(),
    left: () => sweepLater(),
  };
  const { paths, drivers, attachments } = context;
  const once = sayOnce();
  const progress = new Map<string, Begun & { done: boolean }>();
  const waiting = new Map<string, Set<string>>();
  /** Pods whose volumes could not all be undone. */
  const ending = new Set<string>();
  const handlers = new Set<(podUid: string) => void>();
  const csiNode: CsiNodeOptions = { client: node.client, nodeName, serverMinor: node.serverMinor };
  let cancelSweep: (() => void) | undefined;

  /** Pods that wait for a driver are woken by it. */
  function note(driver: string, podUid: string): void {
    if (drivers.names().includes(driver)) return;
    const pods = waiting.get(driver) ?? new Set();
    if (waiting.size < 256 && pods.size < 256) waiting.set(driver, pods.add(podUid));
  }

  async function volumeOf(spec: StorageSpec, { pod, podUid, signal }: SetUpContext): Promise<CsiVolume> {
    const source = spec.persistent?.spec?.csi;
    const driver = source?.driver ?? spec.inline?.csi?.driver ?? '';
    const handle = source?.volumeHandle ?? inlineHandle(podUid, spec.name);
    let object: CsiDriverObject | undefined;
    try {
      paths.staged(driver, handle); // throws for what is no name of a driver
      object = await getCsiDriver(node.client, driver, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      throw mountFailure('MountVolume.NewMounter initialization failed', spec.name, error);
    }
    const volume = { pod, podUid, spec, driver, handle, object, signal };
    if (spec.inline) checkInline(volume);
    return volume;
  }

  /** A pod that was begun by an earlier run, and whose mount stands, needs no driver. */
  async function standing(spec: StorageSpec, podUid: string): Promise<Published | undefined> {
    if (spec.block) {
      const link = await mappedDevice(spec.name, podUid, context);
      return link === undefined ? undefined : { path: link, stagingPath: paths.device(spec.name).staging };
    }
    const folder = paths.podVolume(podUid, spec.name);
    const path = `${folder}/mount`;
    const data = await readVolumeData(folder);
    if (!data || !(await mounter.isMounted(path))) return undefined;
    return { path, stagingPath: spec.inline ? '' : `${paths.staged(data.driverName, data.volumeHandle)}/globalmount` };
  }

  async function dueAt(volume: CsiVolume): Promise<number | undefined> {
    const { object, spec, driver, signal } = volume;
    const next = clock.monotonic() + LOOK_MS * (1 + 0.5 * Math.random());
    if (object?.spec?.requiresRepublish) return next;
    if (!spec.claim || !drivers.names().includes(driver)) return undefined;
    return (await drivers
      .get(driver)
      .can('EXPAND_VOLUME', signal)
      .catch(() => false))
      ? next
      : undefined;
  }

  async function sweep(): Promise<void> {
    cancelSweep?.();
    cancelSweep = undefined;
    for (const { data, device } of await stagedVolumes(context)) {
      if (life.aborted) return;
      await context.locks.run(uniqueName(data.driverName, data.volumeHandle), () =>
        device === undefined ? unstageFilesystem(data, context, life) : unstageDevice(device, data, context, life),
      );
    }
  }

  function sweepLater(): void {
    cancelSweep?.();
    if (life.aborted) return;
    cancelSweep = clock.after(SWEEP_RETRY_MS, () => {
      void sweep().catch((error) => {
        if (!isAbort(error)) log.warn('staged volumes could not be looked through', { error: describeError(error) });
      });
    });
  }

  return {
    async register({ name, supportedVersions }, socket, signal) {
      if (!supportedVersions.some((version) => /^v?1(\.\d+)*/.test(version)))
        throw new Error(
          `RegisterCSIPlugin failed: none of the versions specified ${JSON.stringify(supportedVersions)} are supported`,
        );
      const driver = drivers.add(name, socket);
      try {
        const info = await driver.info(signal);
        const { nodeId, maxVolumes, topology } = info;
        const segments = topology?.segments ?? {};
        await context.locks.run(CSI_NODE, () => installDriver({ name, nodeId, maxVolumes, segments }, csiNode, signal));
      } catch (error) {
        drivers.remove(name);
        throw error;
      }
      const pods = [...(waiting.get(name) ?? []), ...ending];
      waiting.delete(name);
      for (const podUid of pods) for (const handler of handlers) handler(podUid);
      if (cancelSweep) void sweep().catch(() => {});
    },
    unregister({ name }) {
      drivers.remove(name);
      const uninstall = async () => {
        // Back already: it registered through a new socket.
        if (!drivers.names().includes(name)) await uninstallDriver(name, csiNode, life);
      };
      void context.locks.run(CSI_NODE, uninstall).catch((error) => {
        if (!isAbort(error))
          log.warn('a driver that is gone could not be taken from the CSINode', {
            driver: name,
            error: describeError(error),
          });
      });
    },
    async setUp(spec, request) {
      const { pod, podUid, signal } = request;
      const key = `${podUid}/${spec.name}`;
      const state = progress.get(key);
      // What this run began and could not finish is no use to anybody.
      const stands = state?.done === false ? undefined : await standing(spec, podUid);
      try {
        const volume = await volumeOf(spec, request);
        note(volume.driver, podUid);
        const settled =
          state?.done === true || (stands !== undefined && (spec.block || (await looksSettled(stands.path, pod))));
        const again = stands !== undefined && settled && volume.object?.spec?.requiresRepublish !== true;
        if (again) holdAttached(volume, context);
        const { driver, handle } = volume;
        const data = { driverName: driver, volumeHandle: handle, specVolID: spec.name };
        if (state === undefined && stands === undefined) progress.set(key, { data, device: spec.block, done: false });
        const place = again ? stands : await (spec.block ? mapDevice : mountFilesystem)(volume, context);
        if (!spec.inline)
          await expandIfLarger(volume, { volumePath: place.path, stagingPath: place.stagingPath }, context);
        progress.set(key, { data, device: spec.block, done: true });
        return { mounted: mountedOf(spec, place), dueAt: await dueAt(volume) };
      } catch (error) {
        if (stands === undefined || signal.aborted) throw error;
        if (once.changed(key, describeError(error)))
          log.warn('a mounted volume is used as it is', { volume: spec.name, error: describeError(error) });
        return { mounted: mountedOf(spec, stands), dueAt: clock.monotonic() + LOOK_MS };
      }
    },
    async tearDown(podUid, signal) {
      for (const pods of waiting.values()) pods.delete(podUid);
      const mine = [...progress].filter(([key]) => key.startsWith(`${podUid}/`));
      ending.add(podUid);
      await tearDownCsi({ podUid, begun: mine.map(([, one]) => one) }, context, signal);
      ending.delete(podUid);
      for (const [key] of mine) progress.delete(key);
    },
    sweep,
    async recover() {
      const told = new Set(node.node()?.status?.volumesInUse ?? []);
      for (const { data } of await stagedVolumes(context))
        if (told.has(uniqueName(data.driverName, data.volumeHandle)))
          attachments.adopt(data.driverName, data.volumeHandle);
    },
    volumesInUse: () => attachments.inUse(),
    onDriver: (handler) => void handlers.add(handler),
    stop() {
      abort.abort();
      cancelSweep?.();
      drivers.close();
    },
  };
}

function mountedOf(spec: StorageSpec, { path }: Published): MountedVolume {
  return {
    hostPath: path,
    readOnly: isReadOnly(spec),
    selinuxRelabel: false,
    trusted: false,
    ...(spec.block ? { device: true } : {}),
  };
}

/** Whether an earlier run came as far as giving the volume to the pod's group; that is done to its root last. */
async function looksSettled(path: string, pod: Pod): Promise<boolean> {
  const ownership = podOwnership(pod, false);
  return ownership === undefined || looksOwned(path, ownership);
}

/** Not every driver can make volumes for one pod only. */
function checkInline({ spec, driver, object }: CsiVolume): void {
  const modes = object?.spec?.volumeLifecycleModes ?? ['Persistent'];
  if (modes.includes('Ephemeral')) return;
  const text = `volume mode "Ephemeral" not supported by driver ${driver} (only supports ${JSON.stringify(modes)})`;
  throw mountFailure(
    'MountVolume.NewMounter initialization failed',
    spec.name,
    new AgentError({ code: 'CSI_MODE', message: text }),
  );
}
