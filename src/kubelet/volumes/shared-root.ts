import { realpath } from 'node:fs/promises';
import { readText } from '../../host/index.ts';
import { isWithin } from './subpath.ts';

/**
 * Whether mounts below a path are seen by containers that ask for it, and the other way round: true if the mount the path
 * lies on is shared. Lines of mountinfo: `id parent dev root MOUNTPOINT options TAGS… - type source options`.
 */
export function isShared(mountinfo: string, path: string): boolean {
  let best = { point: '', shared: true };
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    const point = fields[4];
    const end = fields.indexOf('-');
    // Of several mounts at one place the last one counts.
    if (point === undefined || end < 6 || !isWithin(point, path) || point.length < best.point.length) continue;
    best = { point, shared: fields.slice(6, end).some((tag) => tag.startsWith('shared:')) };
  }
  return best.shared;
}

/**
 * Makes the kubelet's folder a shared mount, as hosts without systemd don't have it: volumes mounted below later would
 * not reach containers with mountPropagation, nor would theirs reach the host (kubelet setupDataDirs).
 */
export async function ensureSharedRoot(
  rootDir: string,
  options: { mountinfo?: string; run(argv: readonly string[]): Promise<void> },
): Promise<boolean> {
  const text = await readText(options.mountinfo ?? '/proc/self/mountinfo');
  const path = await realpath(rootDir);
  if (text === undefined || isShared(text, path)) return false;
  await options.run(['mount', '-c', '--rbind', path, path]);
  await options.run(['mount', '-c', '--make-rshared', path]);
  return true;
}
