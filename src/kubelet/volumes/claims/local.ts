import type { Stats } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { errorCode } from '../../../core/index.ts';
import type { MountedVolume } from '../../materials.ts';
import { deviceFailure, mountFailure } from '../errors.ts';
import { applyOwnership, podOwnership } from '../ownership.ts';
import { linkDevice } from './device.ts';
import { formatAndMount } from './format.ts';
import type { SetUpContext } from './index.ts';
import type { StorageSpec } from './spec.ts';

const PLUGIN = 'kubernetes.io~local-volume';

/**
 * A `local` PersistentVolume: a folder of this host bind-mounted for the pod, a block device with a file system on it, or
 * the device itself (kubernetes pkg/volume/local).
 */
export async function setUpLocal(spec: StorageSpec, context: SetUpContext): Promise<MountedVolume> {
  const { pod, podUid, layout, mounter, signal } = context;
  const { path = '', fsType } = spec.persistent?.spec?.local ?? {};
  const found = await look(path);
  if (spec.block) {
    if (!found)
      throw deviceFailure('MapVolume.EvalHostSymlinks failed', spec.name, `lstat ${path}: no such file or directory`);
    if (!found.isBlockDevice())
      throw deviceFailure('MapVolume.MapBlockVolume failed', spec.name, `${path} is not a block device`);
    return linkDevice(path, { spec, podUid, plugin: PLUGIN, layout });
  }
  if (!found)
    throw mountFailure('MountVolume.NewMounter initialization failed', spec.name, `path "${path}" does not exist`);
  if (!found.isDirectory() && !found.isBlockDevice())
    throw mountFailure(
      'MountVolume.NewMounter initialization failed',
      spec.name,
      'only directory and block device are supported',
    );
  const options = spec.persistent?.spec?.mountOptions ?? [];
  const target = layout.volumeDir(podUid, PLUGIN, spec.name);
  const source = found.isBlockDevice()
    ? await formatAndMount(
        { device: path, target, name: spec.name, fsType: fsType || 'ext4', readOnly: spec.readOnly, options },
        context,
      )
    : path;
  try {
    await mkdir(target, { recursive: true, mode: 0o750 });
    if (!(await isSame(source, target))) {
      const ownership = podOwnership(pod, spec.readOnly);
      if (ownership && !spec.readOnly) await applyOwnership(source, ownership, signal);
      const bind = ['bind', ...(spec.readOnly ? ['ro'] : []), ...(found.isDirectory() ? options : [])];
      await mounter.mount([{ source, target, type: 'none', options: bind }], signal);
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw mountFailure('MountVolume.SetUp failed', spec.name, error);
  }
  return { hostPath: target, readOnly: spec.readOnly, selinuxRelabel: true, trusted: false };
}

async function look(path: string): Promise<Stats | undefined> {
  if (!path.startsWith('/') || path.includes('\0')) return undefined;
  try {
    return await stat(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** True if the folder is mounted there already. */
async function isSame(source: string, target: string): Promise<boolean> {
  const [a, b] = await Promise.all([stat(source), stat(target)]);
  return a.dev === b.dev && a.ino === b.ino;
}
