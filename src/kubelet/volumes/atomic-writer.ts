import { randomInt } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
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
 * A reader that resolved ..data once sees one version; a crash at any point leaves the old or the new one. All of it
 * lies in memory, so the calls are the synchronous ones: they never wait for a disk and cost a tenth.
 */

/** The link to the version that counts. */
export const CURRENT = '..data';
const DATA_NEW = '..data_tmp';

export interface WriteOptions {
  /** Mode of the volume's own folder. */
  directoryMode: number;
  /** Group that gets read access to everything. */
  fsGroup?: number | undefined;
  /** Folders other volumes are mounted at, relative to this one. */
  nested?: readonly string[];
}

/** Makes the volume hold exactly the payload. True if anything was written. */
export function writeVolume(directory: string, payload: Payload, options: WriteOptions): boolean {
  mkdirSync(directory, { recursive: true });
  const old = linkTarget(join(directory, CURRENT));
  if (old !== undefined && holds(join(directory, old), payload, options.fsGroup)) {
    makeNested(directory, payload, options);
    return false;
  }
  own(directory, options.directoryMode, options.fsGroup);
  const version = versionName(new Date());
  try {
    writeVersion(join(directory, version), payload, options);
    swap(directory, version, options.fsGroup);
  } catch (error) {
    rmSync(join(directory, version), { recursive: true, force: true });
    throw error;
  }
  link(directory, payload, { version, options });
  makeNested(directory, payload, options);
  return true;
}

/** Top-level names of the files. */
function namesOf(payload: Payload): Set<string> {
  return new Set([...payload.keys()].map((path) => topOf(path)));
}

function topOf(path: string): string {
  return path.split('/')[0] as string;
}

/** Folders among the files lie in the version itself, made with it; where there is a file, it is the mount point. */
function makeNested(directory: string, payload: Payload, { nested = [], fsGroup }: WriteOptions): void {
  const names = nested.length === 0 ? undefined : namesOf(payload);
  for (const path of nested) if (!names?.has(topOf(path))) makeFolders(directory, path, fsGroup);
}

function makeFolders(base: string, path: string, fsGroup: number | undefined): void {
  let at = base;
  for (const part of path.split('/')) {
    at = join(at, part);
    const found = lstatSync(at, { throwIfNoEntry: false });
    if (found?.isDirectory()) continue;
    if (found) return;
    mkdirSync(at);
    own(at, 0o755, fsGroup);
  }
}

function writeVersion(target: string, payload: Payload, { fsGroup, nested = [] }: WriteOptions): void {
  mkdirSync(target);
  own(target, 0o755, fsGroup);
  const folders = new Set<string>();
  for (const [path, file] of payload) {
    for (let folder = dirname(path); folder !== '.' && !folders.has(folder); folder = dirname(folder))
      folders.add(folder);
    const full = join(target, path);
    if (dirname(path) !== '.') mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, file.data, { mode: 0o600 });
    if (file.uid !== undefined || fsGroup !== undefined) chownSync(full, file.uid ?? 0, fsGroup ?? 0);
    chmodSync(full, fileMode(file.mode, fsGroup));
  }
  for (const folder of folders) own(join(target, folder), 0o755, fsGroup);
  const names = nested.length === 0 ? undefined : namesOf(payload);
  for (const path of nested) if (names?.has(topOf(path))) makeFolders(target, path, fsGroup);
}

function swap(directory: string, version: string, fsGroup: number | undefined): void {
  const next = join(directory, DATA_NEW);
  rmSync(next, { force: true });
  symlinkSync(version, next);
  if (fsGroup !== undefined) lchownSync(next, 0, fsGroup);
  renameSync(next, join(directory, CURRENT));
}

/** True if the volume was written completely at some time. */
export function isWritten(directory: string): boolean {
  return statSync(join(directory, CURRENT), { throwIfNoEntry: false })?.isDirectory() === true;
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/** Top-level names: makes the links that are missing, removes what belongs to no file, former versions too. */
function link(
  directory: string,
  payload: Payload,
  { version, options }: { version: string; options: WriteOptions },
): void {
  const { fsGroup, nested = [] } = options;
  const names = namesOf(payload);
  const mounted = new Set(nested.map(topOf).filter((name) => !names.has(name)));
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const { name } = entry;
    if (name === CURRENT || name === version || mounted.has(name)) continue;
    if (entry.isSymbolicLink() && names.delete(name)) continue;
    rmSync(join(directory, name), { recursive: true, force: true });
  }
  for (const name of names) {
    symlinkSync(`${CURRENT}/${name}`, join(directory, name));
    if (fsGroup !== undefined) lchownSync(join(directory, name), 0, fsGroup);
  }
}

function fileMode(mode: number, fsGroup: number | undefined): number {
  return (mode & 0o777) | (fsGroup === undefined ? 0 : 0o440);
}

function own(directory: string, mode: number, fsGroup: number | undefined): void {
  if (fsGroup !== undefined) chownSync(directory, 0, fsGroup);
  chmodSync(directory, fsGroup === undefined ? mode : mode | 0o2550);
}

function holds(version: string, payload: Payload, fsGroup: number | undefined): boolean {
  try {
    const found = readdirSync(version, { recursive: true, withFileTypes: true });
    const files = found.filter((entry) => !entry.isDirectory());
    if (files.length !== payload.size) return false;
    for (const [path, file] of payload) {
      const full = join(version, path);
      const is = statSync(full);
      if (is.size !== file.data.length || (is.mode & 0o777) !== fileMode(file.mode, fsGroup)) return false;
      if (is.uid !== (file.uid ?? 0) || (fsGroup !== undefined && is.gid !== fsGroup)) return false;
      if (!file.data.equals(readFileSync(full))) return false;
      // The link may be what a crash left out.
      const name = topOf(path);
      if (readlinkSync(join(dirname(version), name)) !== `${CURRENT}/${name}`) return false;
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
