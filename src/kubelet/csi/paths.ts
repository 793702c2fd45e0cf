import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '../../core/index.ts';
import { component } from '../containers/paths.ts';
import type { Layout } from '../volumes/layout.ts';

/**
 * Where the original lays CSI volumes out below its root folder; drivers mount there, and an original agent that takes
 * over reads it (kubernetes pkg/volume/csi):
 *
 *     plugins/kubernetes.io/csi/DRIVER/SHA256/{vol_data.json,globalmount}          staged file systems
 *     pods/UID/volumes/kubernetes.io~csi/NAME/{vol_data.json,mount}                published ones
 *     plugins/kubernetes.io/csi/volumeDevices/NAME/{data/vol_data.json,dev/UID}    block volumes: data, bind mounts
 *     plugins/kubernetes.io/csi/volumeDevices/{staging/NAME,publish/NAME/UID}      … where the driver puts them
 *     pods/UID/volumeDevices/kubernetes.io~csi/NAME                                … link to the published device
 *
 * SHA256 is that of the volume handle; NAME the PersistentVolume's, or the volume's in the pod if it is inline.
 */
export interface CsiPaths {
  /** `plugins/kubernetes.io/csi` */
  readonly root: string;
  /** Folder of a staged file system: holds `vol_data.json` and `globalmount`. */
  staged(driver: string, handle: string): string;
  /** The layout before 1.24: `pv/NAME`, with the same content. */
  stagedBefore(name: string): string;
  podVolumes(uid: string): string;
  podVolume(uid: string, name: string): string;
  podDevices(uid: string): string;
  podDevice(uid: string, name: string): string;
  readonly devices: string;
  device(name: string): DevicePaths;
}

export interface DevicePaths {
  /** `volumeDevices/NAME` */
  root: string;
  data: string;
  maps: string;
  map(uid: string): string;
  staging: string;
  publishDir: string;
  publish(uid: string): string;
}

export const PLUGIN = 'kubernetes.io~csi';

export function csiPaths({ rootDir, podDir, volumeDir }: Layout): CsiPaths {
  const root = join(rootDir, 'plugins/kubernetes.io/csi');
  const devices = join(root, 'volumeDevices');
  return {
    root,
    devices,
    staged: (driver, handle) => join(root, driverName(driver), createHash('sha256').update(handle).digest('hex')),
    stagedBefore: (name) => join(root, 'pv', component(name, 'volume name')),
    podVolumes: (uid) => join(podDir(uid), 'volumes', PLUGIN),
    podVolume: (uid, name) => volumeDir(uid, PLUGIN, name),
    podDevices: (uid) => join(podDir(uid), 'volumeDevices', PLUGIN),
    podDevice: (uid, name) => join(podDir(uid), 'volumeDevices', PLUGIN, component(name, 'volume name')),
    device(name) {
      const own = component(name, 'volume name');
      const base = join(devices, own);
      const publishDir = join(devices, 'publish', own);
      return {
        root: base,
        data: join(base, 'data'),
        maps: join(base, 'dev'),
        map: (uid) => join(base, 'dev', component(uid, 'pod uid')),
        staging: join(devices, 'staging', own),
        publishDir,
        publish: (uid) => join(publishDir, component(uid, 'pod uid')),
      };
    },
  };
}

/** A driver's name as one path component. Throws `CSI_MALFORMED`. */
function driverName(name: string): string {
  if (/^[A-Za-z0-9]([-A-Za-z0-9.]{0,61}[A-Za-z0-9])?$/.test(name) && name !== 'pv' && name !== 'volumeDevices')
    return name;
  throw new AgentError({ code: 'CSI_MALFORMED', message: `"${name.slice(0, 64)}" is no name of a CSI driver` });
}

/** `kubernetes.io/csi/DRIVER^HANDLE`: how the Node's status names an attachable volume, and what it is locked by. */
export function uniqueName(driver: string, handle: string): string {
  return `kubernetes.io/csi/${driver}^${handle}`;
}

/** Name of the VolumeAttachment. */
export function attachmentName(handle: string, driver: string, node: string): string {
  return `csi-${createHash('sha256').update(`${handle}${driver}${node}`).digest('hex')}`;
}

/** Handle of an inline volume. */
export function inlineHandle(podUid: string, volume: string): string {
  return `csi-${createHash('sha256').update(`${podUid}${volume}`).digest('hex')}`;
}
