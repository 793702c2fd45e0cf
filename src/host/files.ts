import { createHash } from 'node:crypto';
import { access, chmod, type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { errorCode } from '../core/index.ts';
import { sweepBeside, temporaryPath } from './temporary.ts';

/** The file's text, or undefined if there is none. Other errors are thrown. */
export async function readText(path: string): Promise<string | undefined> {
  return (await readBytes(path))?.toString('utf8');
}

export async function readBytes(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Names of what lies in a folder and is no folder itself, unsorted; empty if there is no such folder. */
export async function listFiles(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

/** Paths of the plain files below a folder, relative to it, links followed for files; undefined if there is no folder. */
export async function listTree(dir: string): Promise<string[] | undefined> {
  const found: string[] = [];
  try {
    for (const entry of await readdir(dir, { recursive: true, withFileTypes: true }))
      if (!entry.isDirectory()) found.push(relative(dir, join(entry.parentPath, entry.name)));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return found;
}

/**
 * Replaces a file so that a power cut leaves the old or the new content, never a mix: temporary file, fsync, rename,
 * fsync of the folder. Parent folders are made (0755).
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  const dir = dirname(path);
  await mkdir(dir, { recursive: true });
  await sweepBeside(path);
  const temporary = temporaryPath(path);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.chmod(mode); // the umask must not decide
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDir(dir);
}

/** As {@link writeFileAtomic}, but leaves a file with that content alone. True if it wrote: spares the flash. */
export async function writeIfChanged(path: string, data: string | Uint8Array, mode = 0o644): Promise<boolean> {
  await sweepBeside(path);
  const old = await readBytes(path);
  if (old?.equals(typeof data === 'string' ? Buffer.from(data) : data)) return false;
  await writeFileAtomic(path, data, mode);
  return true;
}

/** Makes a folder with exactly these rights (the umask does not decide); parents are made 0755. */
export async function ensureDir(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  const info = await stat(path);
  if ((info.mode & 0o7777) !== mode) await chmod(path, mode);
}

/** True if the path leads to something; a link to nothing, or what may not be looked at, counts as absent. */
export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** When the file was last written, milliseconds since the epoch; undefined if there is none. */
export async function modifiedAt(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs;
}

/** Deletes a file; one that is not there is fine. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

export async function syncDir(dir: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(dir, 'r');
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EISDIR'].includes(errorCode(error) ?? '')) throw error;
  } finally {
    await handle?.close();
  }
}

/**
 * A JSON state file that proves itself: `{"sha256": "<hex of data's JSON>", "data": …}`. Reading a missing, truncated
 * or altered one gives undefined (and moves a broken one aside as `<path>.broken`), so the caller rebuilds it.
 */
export async function readState<T>(path: string): Promise<T | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    const outer = JSON.parse(text) as { sha256?: string; data?: T };
    if (outer.sha256 === digest(outer.data)) return outer.data;
  } catch {
    // Not JSON: handled as any other broken file.
  }
  await rename(path, `${path}.broken`).catch(() => {});
  return undefined;
}

/** Writes what {@link readState} reads; nothing if it is there already. True if it wrote. */
export function writeState(path: string, data: unknown, mode = 0o600): Promise<boolean> {
  return writeIfChanged(path, `${JSON.stringify({ sha256: digest(data), data })}\n`, mode);
}

function digest(data: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(data) ?? '')
    .digest('hex');
}
