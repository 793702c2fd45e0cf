import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, errorCode, isAbort } from '../../core/index.ts';
import { exists } from '../../host/index.ts';
import { volumeError } from '../volumes/errors.ts';
import type { CsiContext } from './context.ts';
import { removeUnmounted } from './filesystem.ts';
import { namesIn } from './names-in.ts';
import { uniqueName } from './paths.ts';
import { unstageDevice, unstageFilesystem } from './unstage.ts';
import { readVolumeData, type VolumeData } from './vol-data.ts';

/** A volume that this run began to set up for a pod: its folder may not tell of it yet. */
export interface Begun {
  data: VolumeData & { specVolID: string };
  device: boolean;
}

/**
 * Unpublishes all CSI volumes of a pod, told from what lies in its folder, so that it works after a restart as well.
 * What nobody else on this node uses is unstaged, too; that failing does not hold up the pod. Throws `VOLUME_TEARDOWN`
 * if a driver is away or refuses: nothing else of that volume is touched then.
 */
export async function tearDownCsi(
  { podUid, begun }: { podUid: string; begun: readonly Begun[] },
  context: CsiContext,
  signal: AbortSignal,
): Promise<void> {
  const faults: unknown[] = [];
  const each = async (device: boolean, folder: string, work: typeof unpublish) => {
    const known = new Map(begun.filter((one) => one.device === device).map(({ data }) => [data.specVolID, data]));
    for (const name of new Set([...(await namesIn(folder)), ...known.keys()]))
      await work({ podUid, name, begun: known.get(name) }, context, signal).catch((error) => void faults.push(error));
  };
  await each(false, context.paths.podVolumes(podUid), unpublish);
  await each(true, context.paths.podDevices(podUid), unmap);
  const first = faults[0];
  if (first === undefined) return;
  if (isAbort(first) || signal.aborted) throw first;
  throw volumeError('VOLUME_TEARDOWN', describeError(first), first);
}

interface EndingVolume {
  podUid: string;
  name: string;
  begun: VolumeData | undefined;
}

async function unpublish(
  { podUid, name, begun }: EndingVolume,
  context: CsiContext,
  signal: AbortSignal,
): Promise<void> {
  const folder = context.paths.podVolume(podUid, name);
  const path = join(folder, 'mount');
  const data = await readVolumeData(folder);
  // Never published: the driver was not asked to, or refused.
  if (data === undefined) {
    await removeUnmounted(path, context);
    if (begun)
      await context.locks.run(uniqueName(begun.driverName, begun.volumeHandle), () =>
        unstageFilesystem(begun, context, signal),
      );
    return;
  }
  const { driverName, volumeHandle } = data;
  await context.locks.run(uniqueName(driverName, volumeHandle), async () => {
    try {
      await context.drivers.get(driverName).unpublish({ volumeId: volumeHandle, targetPath: path }, signal);
      if (!(await removeUnmounted(path, context)))
        throw new Error(`the driver left ${path} mounted, though it said it had unmounted it`);
    } catch (error) {
      throw failed('UnmountVolume.TearDown', name, { error, where: 'Unmounter.TearDownAt' });
    }
    if (data.volumeLifecycleMode !== 'Ephemeral')
      await unstageFilesystem({ ...data, specVolID: name }, context, signal);
  });
}

async function unmap({ podUid, name, begun }: EndingVolume, context: CsiContext, signal: AbortSignal): Promise<void> {
  const paths = context.paths.device(name);
  const data = (await readVolumeData(paths.data)) ?? begun;
  const map = paths.map(podUid);
  const work = async () => {
    if ((await context.mounter.below([map])).length > 0) await context.mounter.unmount([map], signal);
    await rm(map, { force: true });
    if (data && (await exists(paths.publish(podUid))))
      await context.drivers
        .get(data.driverName)
        .unpublish({ volumeId: data.volumeHandle, targetPath: paths.publish(podUid) }, signal);
    await rm(context.paths.podDevice(podUid, name), { force: true });
    if (data) await unstageDevice(name, data, context, signal);
  };
  try {
    await (data ? context.locks.run(uniqueName(data.driverName, data.volumeHandle), work) : work());
  } catch (error) {
    throw failed('UnmapVolume.UnmapPodDevice', name, { error, where: 'blockMapper.UnmapPodDevice' });
  }
}

function failed(what: string, name: string, { error, where }: { error: unknown; where: string }): unknown {
  if (isAbort(error)) return error;
  const missing = errorCode(error) === 'CSI_NO_DRIVER';
  const why = missing
    ? `kubernetes.io/csi: ${where} failed to get CSI client: ${describeError(error)}`
    : describeError(error);
  return volumeError('VOLUME_TEARDOWN', `${what} failed for volume "${name}" : ${why}`.slice(0, 1024), error);
}
