import type { Stats } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { errorCode } from '../../core/index.ts';
import { volumeError } from './errors.ts';

const CHECKS: Readonly<Record<string, { test: (s: Stats) => boolean; noun: string }>> = {
  Directory: { test: (s) => s.isDirectory(), noun: 'a directory' },
  DirectoryOrCreate: { test: (s) => s.isDirectory(), noun: 'a directory' },
  File: { test: (s) => s.isFile(), noun: 'a file' },
  FileOrCreate: { test: (s) => s.isFile(), noun: 'a file' },
  Socket: { test: (s) => s.isSocket(), noun: 'a socket file' },
  CharDevice: { test: (s) => s.isCharacterDevice(), noun: 'a character device' },
  BlockDevice: { test: (s) => s.isBlockDevice(), noun: 'a block device' },
};

/** Checks a hostPath volume's type, making what `…OrCreate` asks for (pkg/volume/hostpath). Throws `VOLUME_TYPE`. */
export async function ensureHostPath(path: string, type: string | undefined): Promise<void> {
  if (!path.startsWith('/') || path.split('/').includes('..') || path.includes('\0'))
    throw volumeError('VOLUME_TYPE', `invalid HostPath \`${path.slice(0, 256)}\`: ${faultOf(path)}`);
  if (type === undefined || type === '') return;
  const check = Object.hasOwn(CHECKS, type) ? CHECKS[type] : undefined;
  if (!check) throw volumeError('VOLUME_TYPE', `${type.slice(0, 64)} is an invalid volume type`);
  let found = await look(path);
  if (!found && type === 'DirectoryOrCreate') {
    await mkdir(path, { recursive: true, mode: 0o755 });
    found = await look(path);
  }
  if (!found && type === 'FileOrCreate') {
    await (await open(path, 'a', 0o644)).close();
    found = await look(path);
  }
  if (!found || !check.test(found))
    throw volumeError('VOLUME_TYPE', `hostPath type check failed: ${path} is not ${check.noun}`);
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function faultOf(path: string): string {
  if (path.split('/').includes('..')) return "must not contain '..'";
  return path.includes('\0') ? 'must not contain a zero byte' : 'must be an absolute path';
}
