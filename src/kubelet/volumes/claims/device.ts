import { mkdir, readlink, rename, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { component } from '../../containers/paths.ts';
import type { MountedVolume } from '../../materials.ts';
import type { Layout } from '../layout.ts';
import type { StorageSpec } from './spec.ts';

export interface DeviceLink {
  spec: StorageSpec;
  podUid: string;
  /** `kubernetes.io~csi` */
  plugin: string;
  layout: Layout;
}

/** The link to a pod's block device at the usual place, which containers get the device by. */
export async function linkDevice(device: string, { spec, podUid, plugin, layout }: DeviceLink): Promise<MountedVolume> {
  const path = join(layout.podDir(podUid), 'volumeDevices', plugin, component(spec.name, 'volume name'));
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  if ((await readlink(path).catch(() => undefined)) !== device) {
    const next = `${path}.new`;
    await symlink(device, next).catch(() => {});
    await rename(next, path);
  }
  return { hostPath: path, readOnly: spec.readOnly, selinuxRelabel: false, trusted: false, device: true };
}
