import { constants } from 'node:fs';
import { chmod, chown, type FileHandle, lchown, open, opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';

/*
 * Gives a volume to the pod's group (kubernetes pkg/volume/volume_linux.go): group and mode bits of everything in it.
 * Folders are opened without following links and entered through /proc/self/fd, since another pod may have the volume
 * at the same time.
 */

/** Linux' O_PATH, which Node's constants lack. */
const O_PATH = 0o10000000;
const O_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const SETGID = 0o2000;

export interface Ownership {
  /** The pod's fsGroup. */
  group: number;
  readOnly: boolean;
  /** Nothing is done if the volume's root looks right already. */
  onlyIfRootDiffers: boolean;
}

/** What a pod asks for; undefined if it has no fsGroup. */
export function podOwnership({ spec }: Pod, readOnly: boolean): Ownership | undefined {
  const { fsGroup, fsGroupChangePolicy } = spec.securityContext ?? {};
  if (fsGroup === undefined || fsGroup === null) return undefined;
  return { group: fsGroup, readOnly, onlyIfRootDiffers: fsGroupChangePolicy === 'OnRootMismatch' };
}

export async function applyOwnership(root: string, ownership: Ownership, signal: AbortSignal): Promise<void> {
  if (ownership.onlyIfRootDiffers && (await looksOwned(root, ownership))) return;
  const handle = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await walk(handle, ownership, signal);
    // The root comes last: a walk that was cut off is then begun anew.
    await give(`/proc/self/fd/${handle.fd}/.`, (await handle.stat()).mode, ownership, true);
  } finally {
    await handle.close();
  }
}

/** True if the root of a volume has the group and the bits it is to have. */
export async function looksOwned(root: string, { group, readOnly }: Ownership): Promise<boolean> {
  const { gid, mode } = await stat(root);
  const bits = (readOnly ? 0o440 : 0o660) | 0o110 | SETGID;
  return gid === group && (mode & bits) === bits;
}

async function walk(folder: FileHandle, ownership: Ownership, signal: AbortSignal): Promise<void> {
  const at = `/proc/self/fd/${folder.fd}`;
  for await (const entry of await opendir(`${at}/.`, { bufferSize: 128 })) {
    signal.throwIfAborted();
    const path = join(at, entry.name);
    try {
      if (entry.isSymbolicLink()) await lchown(path, -1, ownership.group);
      else await enter(path, ownership, signal);
    } catch (error) {
      // Removed or swapped meanwhile, or a file system that knows no owners: upstream goes on, too.
      if (!['ENOENT', 'ELOOP', 'ENOTDIR', 'EPERM', 'EROFS', 'ENOTSUP'].includes(errorCode(error) ?? '')) throw error;
    }
  }
}

async function enter(path: string, ownership: Ownership, signal: AbortSignal): Promise<void> {
  const handle = await open(path, O_PATH | constants.O_NOFOLLOW);
  try {
    const found = await handle.stat();
    if (found.isSymbolicLink()) return;
    if (found.isDirectory()) {
      const folder = await open(path, O_DIR);
      try {
        await walk(folder, ownership, signal);
      } finally {
        await folder.close();
      }
    }
    await give(`/proc/self/fd/${handle.fd}`, found.mode, ownership, found.isDirectory());
  } finally {
    await handle.close();
  }
}

/** `path` leads to an open file itself, so following it is meant. */
async function give(path: string, mode: number, { group, readOnly }: Ownership, folder: boolean): Promise<void> {
  await chown(path, -1, group);
  const bits = (readOnly ? 0o440 : 0o660) | (folder ? 0o110 | SETGID : 0);
  await chmod(path, (mode & 0o7777) | bits);
}
