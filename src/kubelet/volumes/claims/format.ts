import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../../host/index.ts';
import { component } from '../../containers/paths.ts';
import { createLocks } from '../../csi/locks.ts';
import { namesIn } from '../../csi/names-in.ts';
import { mountFailure } from '../errors.ts';
import type { Layout } from '../layout.ts';
import { isMountPoint } from '../mounter.ts';
import type { SetUpContext } from './index.ts';

export interface FormatRequest {
  device: string;
  /** Where the pod will have it. */
  target: string;
  /** The PersistentVolume's name. */
  name: string;
  fsType: string;
  readOnly: boolean;
  options: readonly string[];
}

const VOLUMES = 'volumes/kubernetes.io~local-volume';

/** blkid's exit code when it finds neither a file system nor partitions. */
const NOTHING_FOUND = 2;

const inTurn = createLocks();

function placeOf(layout: Layout, name: string): string {
  return join(layout.rootDir, 'plugins/kubernetes.io/local-volume/mounts', component(name, 'volume name'));
}

/**
 * Unmounts the shared places of devices that no pod but this one, whose own mounts are gone, has a folder for. Called
 * before its folder is removed, so that a crash leaves nothing that is not found again.
 */
export async function releaseDevices(
  podUid: string,
  { layout, mounter, signal }: Pick<SetUpContext, 'layout' | 'mounter' | 'signal'>,
): Promise<void> {
  for (const name of await namesIn(join(layout.podDir(podUid), VOLUMES))) {
    const place = placeOf(layout, name);
    await inTurn.run(name, async () => {
      if (!(await mounter.isMounted(place))) return;
      for (const uid of await namesIn(layout.podsDir))
        if (uid !== podUid && (await exists(join(layout.podsDir, uid, VOLUMES, name)))) return;
      await mounter.unmount([place], signal);
      await rmdir(place);
    });
  }
}

/**
 * Mounts a block device at the place all pods share, making a file system first if the device holds nothing at all
 * (mount-utils FormatAndMount). Returns that place. Throws `VOLUME_MOUNT`.
 */
export async function formatAndMount(request: FormatRequest, context: SetUpContext): Promise<string> {
  return inTurn.run(request.name, async () => {
    // The pod's folder says that it uses the device.
    await mkdir(request.target, { recursive: true, mode: 0o750 });
    return mountDevice(request, context);
  });
}

async function mountDevice(request: FormatRequest, context: SetUpContext): Promise<string> {
  const { device, name, fsType, readOnly, options } = request;
  const { exec, layout, mounter, signal } = context;
  const place = placeOf(layout, name);
  try {
    await mkdir(place, { recursive: true, mode: 0o750 });
    if (await isMountPoint(place)) return place;
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
