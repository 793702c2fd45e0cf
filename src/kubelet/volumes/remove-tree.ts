import { randomBytes } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode } from '../../core/index.ts';
import { volumeError } from './errors.ts';

/*
 * Removes a pod's folder although its content was written by containers: no link is followed, no file system but the
 * folder's own is entered, and depth costs neither stack nor path length. Folders are opened without following links
 * and entered through /proc/self/fd, so that a name swapped meanwhile leads nowhere; what lies too deep is first moved
 * up beside its ancestors.
 */

const O_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const MAX_DEPTH = 32;

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
    await removeEntry({ parent, name: basename(path), device, top: parent, depth: 0, path });
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

async function removeEntry(place: Place): Promise<void> {
  const at = inside(place.parent, place.name);
  const found = await lstat(at).catch(absent);
  if (!found) return;
  if (found.dev !== place.device) throw mounted(place.path);
  if (!found.isDirectory()) return void (await unlink(at).catch(absent));
  if (place.depth >= MAX_DEPTH) {
    const name = `.removing-${randomBytes(6).toString('hex')}`;
    await rename(at, inside(place.top, name));
    return removeEntry({ ...place, parent: place.top, name, depth: 1 });
  }
  await empty(at, place);
  await rmdir(at).catch(absent);
}

async function empty(at: string, place: Place): Promise<void> {
  const handle = await open(at, O_DIR);
  try {
    if ((await handle.stat()).dev !== place.device) throw mounted(place.path);
    const entries: Dirent<Buffer>[] = await readdir(inside(handle, '.'), { withFileTypes: true, encoding: 'buffer' });
    for (const entry of entries) {
      const name = entry.name.toString('latin1');
      // Names that are no text can't be given to the functions above; bytes can.
      if (!isText(entry.name)) await removeBytes(handle, entry, place);
      else
        await removeEntry({
          ...place,
          parent: handle,
          name: entry.name.toString('utf8'),
          depth: place.depth + 1,
          path: `${place.path}/${name}`,
        });
    }
  } finally {
    await handle.close();
  }
}

/** Gives an entry with bytes that are no UTF-8 a plain name, then goes on as usual. */
async function removeBytes(handle: FileHandle, entry: Dirent<Buffer>, place: Place): Promise<void> {
  const from = Buffer.concat([Buffer.from(`/proc/self/fd/${handle.fd}/`), entry.name]);
  const name = `.removing-${randomBytes(6).toString('hex')}`;
  await rename(from, inside(handle, name));
  await removeEntry({ ...place, parent: handle, name, depth: place.depth + 1 });
}

function isText(name: Buffer): boolean {
  return Buffer.from(name.toString('utf8'), 'utf8').equals(name);
}

function absent(error: unknown): undefined {
  if (errorCode(error) === 'ENOENT') return undefined;
  throw error;
}

function mounted(path: string) {
  return volumeError('VOLUME_TEARDOWN', `${path.slice(0, 512)} is still mounted; it is left alone`);
}
