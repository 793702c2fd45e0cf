import { existsSync } from 'node:fs';
import { lstat, mkdir, readlink, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCode } from '../../core/index.ts';

/**
 * The folder to write a volume of files from the API into: `inMemory`, with a link to it at `place`, where people look
 * for it. Only where an agent of another make left the volume of a pod that may still run, that one is gone on with:
 * its containers have it mounted. `secret`: it must never lie on a disk.
 */
export async function placeVolume(place: string, inMemory: string, secret: boolean): Promise<string> {
  if ((await readlink(place).catch(() => undefined)) === inMemory) return inMemory;
  try {
    await symlink(inMemory, place);
    return inMemory;
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(errorCode(error) ?? '')) throw error;
  }
  await mkdir(dirname(place), { recursive: true, mode: 0o750 });
  const found = await lstat(place).catch(() => undefined);
  if (found?.isDirectory()) {
    const isMount = found.dev !== (await stat(dirname(place))).dev;
    if (isMount || (!secret && existsSync(join(place, '..data')))) return place;
  }
  await rm(place, { recursive: true, force: true });
  await symlink(inMemory, place);
  return inMemory;
}
