import { mkdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describeError, errorCode } from '../../core/index.ts';
import { mountFailure } from '../volumes/errors.ts';
import { applyOwnership, podOwnership } from '../volumes/ownership.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import { type Driver, isFinal } from './driver.ts';
import { attachmentName, uniqueName } from './paths.ts';
import { capabilityOf, fsTypeOf, isReadOnly, podContext, secretsFor, tokenContext } from './requests.ts';
import { writeVolumeData } from './vol-data.ts';

/** Where a pod's file system is, and where it is staged (empty: the driver does not stage). */
export interface Published {
  path: string;
  stagingPath: string;
}

/** Stages (once a node) and publishes (once a pod) a file system. Throws `VOLUME_MOUNT` with upstream's text. */
export async function mountFilesystem(volume: CsiVolume, context: CsiContext): Promise<Published> {
  const { spec, handle, podUid } = volume;
  const persistent = spec.inline === undefined;
  const path = join(context.paths.podVolume(podUid, spec.name), 'mount');
  const publishContext = persistent ? await attach(volume, context) : {};
  return context.locks.run(uniqueName(volume.driver, handle), async () => {
    holdAttached(volume, context);
    const stagingPath = persistent ? await stage(volume, context, publishContext) : '';
    await publish(volume, context, { path, stagingPath, publishContext });
    return { path, stagingPath };
  });
}

export async function attach(volume: CsiVolume, context: CsiContext): Promise<Record<string, string>> {
  const { object, spec, driver, handle, signal } = volume;
  if (object?.spec?.attachRequired === false) return {};
  try {
    return await context.attachments.wait({ driver, handle }, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    throw mountFailure(`${spec.block ? 'Map' : 'Mount'}Volume.WaitForAttach failed`, spec.name, error);
  }
}

/** The volume is said to be in use, also if another pod's end let go of it since this one waited for it. */
export function holdAttached({ object, spec, driver, handle }: CsiVolume, { attachments }: CsiContext): void {
  if (!spec.inline && object?.spec?.attachRequired !== false) attachments.adopt(driver, handle);
}

async function stage(volume: CsiVolume, context: CsiContext, publishContext: Record<string, string>): Promise<string> {
  const { spec, driver: name, handle, signal } = volume;
  const folder = context.paths.staged(name, handle);
  const target = join(folder, 'globalmount');
  const source = spec.persistent?.spec?.csi;
  try {
    const driver = find(context, name, 'attacher.MountDevice failed to create newCsiDriverClient');
    const stages = await driver.can('STAGE_UNSTAGE_VOLUME', signal);
    const capability = await capabilityOf(volume, driver);
    const secrets = stages ? await secretsFor(source?.nodeStageSecretRef, context, signal) : {};
    await mkdir(target, { recursive: true, mode: 0o750 });
    await writeVolumeData(folder, { driverName: name, volumeHandle: handle });
    if (!stages) return '';
    const volumeContext = source?.volumeAttributes ?? {};
    await driver.stage(
      { volumeId: handle, publishContext, stagingPath: target, capability, secrets, volumeContext },
      signal,
    );
    return target;
  } catch (error) {
    if (signal.aborted) throw error;
    if (isFinal(error)) await removeUnmounted(target, context).catch(() => {});
    throw mountFailure('MountVolume.MountDevice failed', spec.name, error);
  }
}

async function publish(
  volume: CsiVolume,
  context: CsiContext,
  place: Published & { publishContext: Record<string, string> },
): Promise<void> {
  const { spec, driver: name, handle, pod, signal } = volume;
  const { path, stagingPath, publishContext } = place;
  const source = spec.persistent?.spec?.csi;
  try {
    const driver = find(context, name, 'mounter.SetUpAt failed to get CSI client');
    const capability = await capabilityOf(volume, driver);
    const inlineRef = spec.inline?.csi?.nodePublishSecretRef;
    const ref = inlineRef ? { ...inlineRef, namespace: pod.metadata.namespace ?? '' } : source?.nodePublishSecretRef;
    const tokens = await tokenContext(volume, context);
    const hidden = volume.object?.spec?.serviceAccountTokenInSecrets === true;
    const secrets = { ...(await secretsFor(ref, context, signal)), ...(hidden ? tokens : {}) };
    await writeVolumeData(dirname(path), {
      attachmentID: attachmentName(handle, name, context.nodeName),
      driverName: name,
      nodeName: context.nodeName,
      specVolID: spec.name,
      volumeHandle: handle,
      volumeLifecycleMode: spec.inline ? 'Ephemeral' : 'Persistent',
    });
    const attributes = source?.volumeAttributes ?? spec.inline?.csi?.volumeAttributes ?? {};
    await driver.publish(
      {
        volumeId: handle,
        publishContext,
        stagingPath,
        targetPath: path,
        capability,
        readonly: isReadOnly(spec),
        secrets,
        volumeContext: { ...attributes, ...podContext(volume), ...(hidden ? {} : tokens) },
      },
      signal,
    );
    await own(volume, driver, path);
  } catch (error) {
    if (signal.aborted) throw error;
    if (isFinal(error)) await removeUnmounted(path, context).catch(() => {});
    throw mountFailure('MountVolume.SetUp failed', spec.name, error);
  }
}

/** Files are given to the pod's group as the driver's fsGroupPolicy says (csi_mounter.go, supportsFSGroup). */
async function own(volume: CsiVolume, driver: Driver, path: string): Promise<void> {
  const { pod, spec, object, handle, signal } = volume;
  const readOnly = isReadOnly(spec);
  const ownership = podOwnership(pod, readOnly);
  if (!ownership || readOnly || (await driver.can('VOLUME_MOUNT_GROUP', signal))) return;
  const policy = object?.spec?.fsGroupPolicy ?? 'ReadWriteOnceWithFSType';
  if (policy === 'None') return;
  if (policy !== 'File') {
    const once = spec.persistent?.spec?.accessModes?.some((m) => m === 'ReadWriteOnce' || m === 'ReadWriteOncePod');
    if (fsTypeOf(volume) === '' || once !== true) return;
  }
  await applyOwnership(path, ownership, signal).catch((error) => {
    if (signal.aborted) throw error;
    throw new Error(`applyFSGroup failed for vol ${handle}: ${describeError(error)}`);
  });
}

/** The driver, or the reason in upstream's words. */
export function find(context: CsiContext, name: string, where: string): Driver {
  try {
    return context.drivers.get(name);
  } catch (error) {
    throw new Error(`kubernetes.io/csi: ${where}: ${describeError(error)}`);
  }
}

/** Removes a mount point with its `vol_data.json` and folder, unless something is mounted there. */
export async function removeUnmounted(path: string, { mounter }: Pick<CsiContext, 'mounter'>): Promise<boolean> {
  if (await mounter.isMounted(path)) return false;
  await rmdir(path).catch(absentIsFine);
  await rm(join(dirname(path), 'vol_data.json'), { force: true });
  await rmdir(dirname(path)).catch(absentIsFine);
  return true;
}

function absentIsFine(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error;
}
