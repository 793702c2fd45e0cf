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
import { readVolumeData } from './vol-data.ts';

/**
 * Unpublishes all CSI volumes of a pod, told from what lies in its folder, so that it works after a restart as well.
 * What nobody else on this node uses is unstaged, too; that failing does not hold up the pod. Throws `VOLUME_TEARDOWN`
 * if a driver is away or refuses: nothing else of that volume is touched then.
 */
export async function tearDownCsi(podUid: string, context: CsiContext, signal: AbortSignal): Promise<void> {
  const faults: unknown[] = [];
  const each = async (folder: string, work: (name: string) => Promise<void>) => {
    for (const name of await namesIn(folder)) await work(name).catch((error) => void faults.push(error));
  };
  await each(context.paths.podVolumes(podUid), (name) => unpublish(podUid, name, context, signal));
  await each(context.paths.podDevices(podUid), (name) => unmap(podUid, name, context, signal));
  const first = faults[0];
  if (first === undefined) return;
  if (isAbort(first) || signal.aborted) throw first;
  throw volumeError('VOLUME_TEARDOWN', describeError(first), first);
}

async function unpublish(podUid: string, name: string, context: CsiContext, signal: AbortSignal): Promise<void> {
  const folder = context.paths.podVolume(podUid, name);
  const path = join(folder, 'mount');
  const data = await readVolumeData(folder);
  // Begun, never published: the driver was not asked yet.
  if (data === undefined) return void (await removeUnmounted(path, context));
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

async function unmap(podUid: string, name: string, context: CsiContext, signal: AbortSignal): Promise<void> {
  const paths = context.paths.device(name);
  const data = await readVolumeData(paths.data);
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
