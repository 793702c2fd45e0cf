import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { component } from '../../containers/paths.ts';
import { mountFailure } from '../errors.ts';
import type { SetUpContext } from './index.ts';

export interface FormatRequest {
  device: string;
  /** The PersistentVolume's name. */
  name: string;
  fsType: string;
  readOnly: boolean;
  options: readonly string[];
}

/** blkid's exit code when it finds neither a file system nor partitions. */
const NOTHING_FOUND = 2;

/**
 * Mounts a block device at the place all pods share, making a file system first if the device holds nothing at all
 * (mount-utils FormatAndMount). Returns that place. Throws `VOLUME_MOUNT`.
 */
export async function formatAndMount(request: FormatRequest, context: SetUpContext): Promise<string> {
  const { device, name, fsType, readOnly, options } = request;
  const { exec, layout, mounter, signal } = context;
  const place = join(layout.rootDir, 'plugins/kubernetes.io/local-volume/mounts', component(name, 'volume name'));
  try {
    await mkdir(place, { recursive: true, mode: 0o750 });
    if ((await stat(place)).dev !== (await stat(dirname(place))).dev) return place;
    const probe = await exec.run(['blkid', '-p', '-s', 'TYPE', '-s', 'PTTYPE', '-o', 'export', device], {
      signal,
      okCodes: [NOTHING_FOUND],
    });
    if (probe.code === NOTHING_FOUND) {
      if (readOnly) throw new Error(`failed to mount unformatted volume as read only ${device}`);
      const quick = /^ext[34]$/.test(fsType) ? ['-F', '-m0'] : fsType === 'xfs' ? ['-f'] : [];
      await exec.run([`mkfs.${component(fsType, 'file system type')}`, ...quick, device], {
        signal,
        timeoutMs: 600_000,
      });
    } else if (/^PTTYPE=/m.test(probe.stdout) && !/^TYPE=/m.test(probe.stdout))
      throw new Error(`failed to mount the volume: ${device} holds a partition table`);
    const mount = [readOnly ? 'ro' : 'rw', ...options];
    await mounter.mount([{ source: device, target: place, type: fsType, options: mount }], signal);
    return place;
  } catch (error) {
    if (signal.aborted) throw error;
    throw mountFailure('MountVolume.MountDevice failed', name, error);
  }
}
