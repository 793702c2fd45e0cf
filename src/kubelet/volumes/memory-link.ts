import { mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '../../core/index.ts';

/** Leaves a link to a volume in the shared tmpfs at the place under the pod's folder where its kind usually lies. */
export async function linkInto(place: string, target: string): Promise<void> {
  if ((await readlink(place).catch(() => undefined)) === target) return;
  try {
    await symlink(target, place);
    return;
  } catch (error) {
    if (!['ENOENT', 'EEXIST'].includes(errorCode(error) ?? '')) throw error;
  }
  await mkdir(dirname(place), { recursive: true, mode: 0o750 });
  // What an original agent left there is a folder, perhaps a mount: rm then fails and the volume is not ready.
  await rm(place, { recursive: true, force: true });
  await symlink(target, place);
}
