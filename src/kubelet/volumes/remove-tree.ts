import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, opendir, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../core/index.ts';
import { volumeError } from './errors.ts';

/*
 * Removes a pod's folder although its content was written by containers: no link is followed, no file system but the
 * folder's own is entered, and neither depth nor the number of files costs memory. Folders are opened without following
 * links and entered through /proc/self/fd, so that a name swapped meanwhile leads nowhere; what lies too deep is first
 * moved up beside its ancestors.
 */

const O_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const MAX_DEPTH = 32;
/** Bytes of a folder itself, as its file system counts them. */
const LONG = 64 * 1024;

/** Throws `VOLUME_TEARDOWN` if something is mounted below the folder; nothing to do if there is no such folder. */
export async function removeTree(path: string): Promise<void> {
  let parent: FileHandle;
  try {
    parent = await open(dirname(path), O_DIR);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const device = (await parent.stat()).dev;
    await removeFolder({ parent, name: basename(path), device, top: parent, depth: 0, path });
  } finally {
    await parent.close();
  }
}

interface Place {
  parent: FileHandle;
  name: string;
  device: number;
  /** Where too deep folders are moved to. */
  top: FileHandle;
  depth: number;
  /** For texts. */
  path: string;
}

const inside = (handle: FileHandle, name: string) => join('/proc/self/fd', String(handle.fd), name);

async function removeFolder(place: Place): Promise<void> {
  const at = inside(place.parent, place.name);
  if (place.depth >= MAX_DEPTH) {
    const name = plainName();
    await rename(at, inside(place.top, name));
    return removeFolder({ ...place, parent: place.top, name, depth: 1 });
  }
  const handle = await openFolder(at);
  if (handle === 'absent') return;
  if (handle === 'other') return removeFile(at, place.path);
  try {
    const found = await handle.stat();
    if (found.dev !== place.device) throw mounted(place.path);
    await removeContent(handle, place, found.size);
    if (await removeEmpty(at, place.path)) return;
    await removeOddNames(handle, place);
  } finally {
    await handle.close();
  }
  if (!(await removeEmpty(at, place.path)))
    throw volumeError('VOLUME_TEARDOWN', `${place.path.slice(0, 512)} is still written to`);
}

async function openFolder(at: string): Promise<FileHandle | 'absent' | 'other'> {
  try {
    return await open(at, O_DIR);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 'absent';
    if (['ELOOP', 'ENOTDIR'].includes(errorCode(error) ?? '')) return 'other';
    throw error;
  }
}

async function removeContent(handle: FileHandle, place: Place, size: number): Promise<void> {
  const at = inside(handle, '.');
  // Reading by pieces costs more calls: only where the list may be long.
  const entries = size <= LONG ? await readdir(at, { withFileTypes: true }) : await opendir(at, { bufferSize: 128 });
  for await (const entry of entries) {
    const { name } = entry;
    if (name.includes('\ufffd')) continue;
    const path = `${place.path}/${name}`;
    if (entry.isDirectory()) await removeFolder({ ...place, parent: handle, name, depth: place.depth + 1, path });
    else await removeFile(inside(handle, name), path);
  }
}

/** Names whose bytes are no text can't be given to the functions above: they get plain ones first. */
async function removeOddNames(handle: FileHandle, place: Place): Promise<void> {
  const folder = Buffer.from(`/proc/self/fd/${handle.fd}/`);
  for (const odd of await readdir(inside(handle, '.'), { encoding: 'buffer' })) {
    const name = plainName();
    await rename(Buffer.concat([folder, odd]), inside(handle, name));
    await removeFolder({ ...place, parent: handle, name, depth: place.depth + 1 });
  }
}

async function removeFile(at: string, path: string): Promise<void> {
  try {
    await unlink(at);
  } catch (error) {
    if (errorCode(error) === 'EBUSY') throw mounted(path);
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** False if there is still something in it. */
async function removeEmpty(at: string, path: string): Promise<boolean> {
  try {
    await rmdir(at);
  } catch (error) {
    if (errorCode(error) === 'ENOTEMPTY') return false;
    if (errorCode(error) === 'EBUSY') throw mounted(path);
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  return true;
}

function plainName(): string {
  return `.removing-${randomBytes(6).toString('hex')}`;
}

function mounted(path: string) {
  return volumeError('VOLUME_TEARDOWN', `${path.slice(0, 512)} is still mounted; it is left alone`);
}
