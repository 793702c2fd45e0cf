import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../core/index.ts';

export interface DiskUse {
  bytes: number;
  inodes: number;
}

/**
 * What a folder and all below it take on its own file system, as `du -x`: blocks, each file once however many names it
 * has, nothing behind links or mounts. `maxFiles`: whoever has more gets a lower bound. What vanishes meanwhile counts as
 * nothing; an absent folder is empty.
 */
export async function diskUsage(
  root: string,
  options: { maxFiles?: number; signal?: AbortSignal } = {},
): Promise<DiskUse> {
  const { maxFiles = Number.POSITIVE_INFINITY, signal } = options;
  const total: DiskUse = { bytes: 0, inodes: 0 };
  const top = await attributes(root);
  if (top === undefined) return total;
  const seen = new Set<number>();
  add(total, top);
  const folders = top.isDirectory() ? [root] : [];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for await (const name of names(folder)) {
      signal?.throwIfAborted();
      const path = join(folder, name);
      const found = await attributes(path);
      if (found === undefined || found.dev !== top.dev) continue;
      if (found.isDirectory()) folders.push(path);
      else if (found.nlink > 1) {
        if (seen.has(found.ino)) continue;
        seen.add(found.ino);
      }
      add(total, found);
      if (total.inodes >= maxFiles) return total;
    }
  }
  return total;
}

function add(total: DiskUse, { blocks }: { blocks: number }): void {
  total.bytes += blocks * 512;
  total.inodes++;
}

/** One name after the other, so that a folder of a million files costs no memory. */
async function* names(folder: string): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(folder)) yield entry.name;
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

async function attributes(path: string) {
  try {
    return await lstat(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Gone, swapped for something else, or hidden so deep that the kernel takes no path to it. */
function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EACCES', 'ESTALE'].includes(errorCode(error) ?? '');
}
