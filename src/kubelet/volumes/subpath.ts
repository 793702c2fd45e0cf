import { constants } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, realpath, rm, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { describeError, errorCode } from '../../core/index.ts';
import { CURRENT } from './atomic-writer.ts';
import { volumeError } from './errors.ts';

/*
 * A subPath names something inside a volume that containers write to, while they write: any folder on the way may turn
 * into a link to `/` between a check and its use. So the path is resolved once, then opened part by part without
 * following links, and the descriptor itself, not its name, is what gets mounted (`/proc/self/fd/N`).
 */

/** Linux' O_PATH, which Node's constants lack: the same number on all architectures Node knows here. */
const O_PATH = 0o10000000;
const O_STEP = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** True if `path` is `base` or below. */
export function isWithin(base: string, path: string): boolean {
  return path === base || path.startsWith(base.endsWith('/') ? base : `${base}/`);
}

/**
 * Opens `subPath` in a volume, making missing folders with the volume's own mode. The handle only names the file (it
 * can't be read); close it after the mount. Throws `VOLUME_SETUP` if the path leaves the volume.
 */
export async function openSubPath(volume: string, subPath: string): Promise<FileHandle> {
  const base = await realpath(volume);
  const real = await realpathOrMake(base, subPath);
  if (!isWithin(base, real))
    throw volumeError('VOLUME_SETUP', `subPath ${subPath.slice(0, 256)} leads out of the volume`);
  return walk(base, relative(base, real));
}

/**
 * The path of a subPath in a volume that nothing but this agent writes to. It goes by way of `..data`, so that it still
 * leads to the file if the volume is written anew before the runtime mounts it.
 */
export async function resolveSubPath(volume: string, subPath: string): Promise<string> {
  const base = await realpath(volume);
  const real = await realpathOrMake(base, subPath);
  if (!isWithin(base, real))
    throw volumeError('VOLUME_SETUP', `subPath ${subPath.slice(0, 256)} leads out of the volume`);
  const lasting = join(base, CURRENT, subPath);
  const same = await realpath(lasting).catch(() => undefined);
  return same === real ? lasting : real;
}

async function realpathOrMake(base: string, subPath: string): Promise<string> {
  const full = join(base, subPath);
  try {
    return await realpath(full);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  await makeFolders(base, subPath).catch((error) => {
    throw volumeError('SUBPATH_CREATE', describeError(error), error);
  });
  return realpath(full);
}

/** Makes the missing part of a path below the volume, through descriptors. */
async function makeFolders(base: string, subPath: string): Promise<void> {
  const mode = (await stat(base)).mode & 0o7777;
  const parts = subPath.split('/').filter((part) => part !== '' && part !== '.');
  let existing = base;
  let missing = parts;
  for (let n = parts.length - 1; n >= 0; n--) {
    const prefix = await realpath(join(base, ...parts.slice(0, n))).catch(() => undefined);
    if (prefix === undefined) continue;
    existing = prefix;
    missing = parts.slice(n);
    break;
  }
  if (!isWithin(base, existing))
    throw volumeError('VOLUME_SETUP', `subPath ${subPath.slice(0, 256)} leads out of the volume`);
  let at = await walk(base, relative(base, existing));
  try {
    for (const part of missing) {
      const path = `/proc/self/fd/${at.fd}/${part}`;
      await mkdir(path, 0o700).catch((error) => {
        if (errorCode(error) !== 'EEXIST') throw error;
      });
      const next = await open(path, O_STEP);
      await at.close();
      at = next;
      await chmod(`/proc/self/fd/${at.fd}`, mode);
    }
  } finally {
    await at.close();
  }
}

async function walk(base: string, path: string): Promise<FileHandle> {
  let at = await open(base, O_PATH | constants.O_NOFOLLOW);
  try {
    const parts = path.split('/').filter((part) => part !== '');
    for (const [i, part] of parts.entries()) {
      const flags = i === parts.length - 1 ? O_PATH | constants.O_NOFOLLOW : O_STEP;
      const next = await open(`/proc/self/fd/${at.fd}/${part}`, flags);
      await at.close();
      at = next;
      // O_PATH opens a link itself instead of refusing it.
      if ((await at.stat()).isSymbolicLink())
        throw volumeError('VOLUME_SETUP', `a part of the subPath turned into a link`);
    }
    return at;
  } catch (error) {
    await at.close();
    throw error;
  }
}

/** Makes the place a subPath is mounted at. */
export async function prepareTarget(target: string, source: FileHandle): Promise<'new' | 'mounted' | 'existing'> {
  const wanted = await source.stat();
  const found = await stat(target).catch(absent);
  if (found) return found.dev === wanted.dev && found.ino === wanted.ino ? 'mounted' : 'existing';
  await makeTarget(target, wanted.isDirectory());
  return 'new';
}

/** A file or a folder, as what will be mounted there; one of the other kind makes way. */
export async function makeTarget(target: string, folder: boolean): Promise<void> {
  await mkdir(dirname(target), { recursive: true, mode: 0o750 });
  const found = await stat(target).catch(absent);
  if (found?.isDirectory() === folder) return;
  if (found) await rm(target, { recursive: true });
  if (folder) await mkdir(target, { mode: 0o750 });
  else await (await open(target, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o640)).close();
}

function absent(error: unknown): undefined {
  if (errorCode(error) === 'ENOENT') return undefined;
  throw error;
}
