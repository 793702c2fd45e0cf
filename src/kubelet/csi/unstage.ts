import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, isAbort } from '../../core/index.ts';
import { exists } from '../../host/index.ts';
import type { CsiContext } from './context.ts';
import { removeUnmounted } from './filesystem.ts';
import { namesIn, removeIfEmpty } from './names-in.ts';
import { PLUGIN } from './paths.ts';
import { readVolumeData, type VolumeData } from './vol-data.ts';

/*
 * Unstaging, once the last pod of this node is done with a volume. Who still uses it is told from the pods' folders: no
 * memory of it could survive a restart. The volume's lock is held. What fails is tried again later, and after a restart.
 */

/** Takes a file system out of its global mount, unless a pod still uses it. */
export async function unstageFilesystem(data: VolumeData, context: CsiContext, signal: AbortSignal): Promise<void> {
  const { driverName, volumeHandle, specVolID } = data;
  if (await usedBySomePod(data, context)) return;
  const candidates = [context.paths.staged(driverName, volumeHandle)];
  if (specVolID) candidates.push(context.paths.stagedBefore(specVolID));
  for (const folder of candidates) {
    if (!(await readVolumeData(folder))) continue;
    if (!(await unstageFolder(folder, data, context, signal))) return;
  }
  context.attachments.release(driverName, volumeHandle);
}

async function unstageFolder(
  folder: string,
  { driverName, volumeHandle }: VolumeData,
  context: CsiContext,
  signal: AbortSignal,
): Promise<boolean> {
  const stagingPath = join(folder, 'globalmount');
  return attempt({ driverName, volumeHandle }, context, async () => {
    const driver = context.drivers.get(driverName);
    if (await driver.can('STAGE_UNSTAGE_VOLUME', signal))
      await driver.unstage({ volumeId: volumeHandle, stagingPath }, signal);
    if (!(await removeUnmounted(stagingPath, context)))
      throw new Error(`the driver left ${stagingPath} mounted, though it said it had unmounted it`);
  });
}

/** Takes a block volume out of its staging folder and removes what is kept of it. */
export async function unstageDevice(
  name: string,
  data: VolumeData,
  context: CsiContext,
  signal: AbortSignal,
): Promise<void> {
  const paths = context.paths.device(name);
  if ((await namesIn(paths.maps)).length > 0 || (await namesIn(paths.publishDir)).length > 0) return;
  const done = await attempt(data, context, async () => {
    if (!(await exists(paths.staging))) return;
    await context.drivers
      .get(data.driverName)
      .unstage({ volumeId: data.volumeHandle, stagingPath: paths.staging }, signal);
    await removeIfEmpty(paths.staging);
  });
  if (!done) return;
  await removeIfEmpty(paths.publishDir);
  await removeIfEmpty(paths.maps);
  await rm(paths.data, { recursive: true, force: true });
  await removeIfEmpty(paths.root);
  context.attachments.release(data.driverName, data.volumeHandle);
}

async function attempt(
  { driverName, volumeHandle }: Pick<VolumeData, 'driverName' | 'volumeHandle'>,
  context: CsiContext,
  work: () => Promise<void>,
): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (isAbort(error)) throw error;
    context.log.warn('a volume could not be unstaged; it is tried again', {
      driver: driverName,
      volume: volumeHandle,
      error: describeError(error),
    });
    context.left();
    return false;
  }
}

async function usedBySomePod({ driverName, volumeHandle }: VolumeData, { layout }: CsiContext): Promise<boolean> {
  for (const uid of await namesIn(layout.podsDir)) {
    const folder = join(layout.podsDir, uid, 'volumes', PLUGIN);
    for (const name of await namesIn(folder)) {
      const data = await readVolumeData(join(folder, name));
      if (data?.driverName === driverName && data.volumeHandle === volumeHandle) return true;
    }
  }
  return false;
}

/** Everything staged on this node: file systems, then block volumes (with their name). */
export async function stagedVolumes({
  paths,
}: Pick<CsiContext, 'paths'>): Promise<{ data: VolumeData; device?: string }[]> {
  const found: { data: VolumeData; device?: string }[] = [];
  for (const driver of await namesIn(paths.root)) {
    if (driver === 'volumeDevices') continue;
    for (const name of await namesIn(join(paths.root, driver))) {
      const data = await readVolumeData(join(paths.root, driver, name));
      if (data) found.push({ data: driver === 'pv' ? { ...data, specVolID: name } : data });
    }
  }
  for (const name of await namesIn(paths.devices)) {
    if (name === 'staging' || name === 'publish') continue;
    const data = await readVolumeData(join(paths.devices, name, 'data'));
    if (data) found.push({ data, device: name });
  }
  return found;
}
