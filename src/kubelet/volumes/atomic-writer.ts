import { randomInt } from 'node:crypto';
import {
  chmod,
  chown,
  lchown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from '../../core/index.ts';
import type { Payload } from './payload.ts';

/*
 * A volume whose files change together, in the shape readers know from upstream's AtomicWriter:
 *
 *     VOLUME/..2026_01_02_03_04_05.123456789/dir/file    the files
 *     VOLUME/..data -> ..2026_01_02_03_04_05.123456789   swapped by rename
 *     VOLUME/dir -> ..data/dir                           one link a top-level name
 *
 * A reader that resolved ..data once sees one version; a crash at any point leaves the old or the new one.
 */

const DATA = '..data';
const DATA_NEW = '..data_tmp';

export interface WriteOptions {
  /** Mode of the volume's own folder. */
  directoryMode: number;
  /** Group that gets read access to everything. */
  fsGroup?: number | undefined;
}

/** Makes the volume hold exactly the payload. True if anything was written. */
export async function writeVolume(directory: string, payload: Payload, options: WriteOptions): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  const old = await readlink(join(directory, DATA)).catch(() => undefined);
  if (old !== undefined && (await holds(join(directory, old), payload, options.fsGroup))) return false;
  await own(directory, options.directoryMode, options.fsGroup);
  const version = versionName(new Date());
  try {
    await writeVersion(join(directory, version), payload, options.fsGroup);
    await swap(directory, version, options.fsGroup);
  } catch (error) {
    await rm(join(directory, version), { recursive: true, force: true });
    throw error;
  }
  await link(directory, payload, version);
  return true;
}

async function writeVersion(target: string, payload: Payload, fsGroup: number | undefined): Promise<void> {
  await mkdir(target);
  await own(target, 0o755, fsGroup);
  const folders = new Set<string>();
  for (const [path, file] of payload) {
    for (let folder = dirname(path); folder !== '.' && !folders.has(folder); folder = dirname(folder))
      folders.add(folder);
    const full = join(target, path);
    if (dirname(path) !== '.') await mkdir(dirname(full), { recursive: true });
    await writeFile(full, file.data, { mode: 0o600 });
    if (file.uid !== undefined || fsGroup !== undefined) await chown(full, file.uid ?? 0, fsGroup ?? 0);
    await chmod(full, fileMode(file.mode, fsGroup));
  }
  for (const folder of folders) await own(join(target, folder), 0o755, fsGroup);
}

async function swap(directory: string, version: string, fsGroup: number | undefined): Promise<void> {
  const next = join(directory, DATA_NEW);
  await rm(next, { force: true });
  await symlink(version, next);
  if (fsGroup !== undefined) await lchown(next, 0, fsGroup);
  await rename(next, join(directory, DATA));
}

/** True if the volume was written completely at some time. */
export async function isWritten(directory: string): Promise<boolean> {
  return stat(join(directory, DATA)).then(
    (s) => s.isDirectory(),
    () => false,
  );
}

/** Top-level names: makes the links that are missing, removes what belongs to no file, former versions too. */
async function link(directory: string, payload: Payload, version: string): Promise<void> {
  const names = new Set([...payload.keys()].map((path) => path.split('/')[0] as string));
  for (const entry of await readdir(directory)) {
    if (entry === DATA || entry === version || names.delete(entry)) continue;
    await rm(join(directory, entry), { recursive: true, force: true });
  }
  for (const name of names) await symlink(`${DATA}/${name}`, join(directory, name));
}

function fileMode(mode: number, fsGroup: number | undefined): number {
  return (mode & 0o777) | (fsGroup === undefined ? 0 : 0o440);
}

async function own(directory: string, mode: number, fsGroup: number | undefined): Promise<void> {
  if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
  await chmod(directory, fsGroup === undefined ? mode : mode | 0o2550);
}

async function holds(version: string, payload: Payload, fsGroup: number | undefined): Promise<boolean> {
  try {
    const found = await readdir(version, { recursive: true, withFileTypes: true });
    const files = found.filter((entry) => !entry.isDirectory());
    if (files.length !== payload.size) return false;
    for (const [path, file] of payload) {
      const full = join(version, path);
      const is = await stat(full);
      if (is.size !== file.data.length || (is.mode & 0o777) !== fileMode(file.mode, fsGroup)) return false;
      if (is.uid !== (file.uid ?? 0) || (fsGroup !== undefined && is.gid !== fsGroup)) return false;
      if (!file.data.equals(await readFile(full))) return false;
      // The link may be what a crash left out.
      const name = path.split('/')[0] as string;
      if ((await readlink(join(dirname(version), name))) !== `${DATA}/${name}`) return false;
    }
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EINVAL', 'EISDIR'].includes(errorCode(error) ?? '')) return false;
    throw error;
  }
}

/** `..2026_01_02_03_04_05.123456789`. */
function versionName(now: Date): string {
  const stamp = now.toISOString().slice(0, 19).replace(/[-T:]/g, '_');
  return `..${stamp}.${randomInt(1e9)}`;
}
