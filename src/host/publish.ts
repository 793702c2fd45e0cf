import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readBytes, syncDir } from './files.ts';
import { sweepBeside, temporaryPath } from './temporary.ts';

/**
 * Replaces a file that others wait for and that can always be written anew: readers see the old or the new content, at
 * once; the disk gets it afterwards (an fsync takes up to half a second on an SD card). After a power cut in between the
 * file may be empty, so the writer must compare and repair it at its next start, as this function does. True if it
 * wrote. Parent folders are made.
 */
export async function publishIfChanged(path: string, data: string, mode: number): Promise<boolean> {
  const bytes = Buffer.from(data);
  await sweepBeside(path);
  if ((await readBytes(path))?.equals(bytes)) return false;
  await mkdir(dirname(path), { recursive: true });
  const temporary = temporaryPath(path);
  const file = await open(temporary, 'wx', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(bytes);
    await rename(temporary, path);
  } catch (error) {
    await file.close();
    await rm(temporary, { force: true });
    throw error;
  }
  void file
    .sync()
    .then(() => syncDir(dirname(path)))
    .catch(() => {})
    .finally(() => file.close().catch(() => {}));
  return true;
}
