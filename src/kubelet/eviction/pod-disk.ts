import { join } from 'node:path';
import type { ContainerUsage } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { CONTAINER_NAME, POD_UID } from '../containers/labels.ts';
import { podLogDirectory } from '../containers/paths.ts';
import type { Layout } from '../volumes/index.ts';
import { type DiskUse, diskUsage } from './disk-usage.ts';

export interface ContainerDisk {
  name: string;
  /** The writable layer. */
  root: DiskUse;
  logs: DiskUse;
}

/** What a pod takes of the node's disks. */
export interface PodDisk {
  containers: ContainerDisk[];
  /** Of emptyDirs on disk. */
  volumes: { name: string; use: DiskUse }[];
}

export interface PodDiskPlaces {
  layout: Pick<Layout, 'volumeDir'>;
  /** `/var/log/pods` */
  logDir: string;
}

/** `stats`: what the runtime says of the writable layers of its containers, of any pods. */
export async function podDisk(
  pod: Pod,
  stats: readonly ContainerUsage[],
  places: PodDiskPlaces,
  signal: AbortSignal,
): Promise<PodDisk> {
  const uid = pod.metadata.uid as string;
  const layers = new Map<string, DiskUse>();
  for (const { labels, writableLayer } of stats)
    if (labels[POD_UID] === uid && writableLayer !== undefined) {
      const name = labels[CONTAINER_NAME] ?? '';
      const before = layers.get(name);
      layers.set(name, {
        bytes: (before?.bytes ?? 0) + (writableLayer.usedBytes ?? 0),
        inodes: (before?.inodes ?? 0) + (writableLayer.inodesUsed ?? 0),
      });
    }
  const logs = podLogDirectory(places.logDir, pod);
  const containers: ContainerDisk[] = [];
  for (const { name } of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])])
    containers.push({
      name,
      root: layers.get(name) ?? { bytes: 0, inodes: 0 },
      logs: await diskUsage(join(logs, name), { signal }),
    });
  const volumes: PodDisk['volumes'] = [];
  for (const { name, emptyDir } of pod.spec.volumes ?? [])
    if (emptyDir && !emptyDir.medium) {
      const folder = places.layout.volumeDir(uid, 'kubernetes.io~empty-dir', name);
      volumes.push({ name, use: await diskUsage(folder, { signal }) });
    }
  return { containers, volumes };
}

/** Which parts of a pod's disk count for a file system: writable layers lie with the images. */
export type DiskParts = 'all' | 'node' | 'image';

export function sumDisk({ containers, volumes }: PodDisk, parts: DiskParts): DiskUse {
  const total: DiskUse = { bytes: 0, inodes: 0 };
  const add = ({ bytes, inodes }: DiskUse) => {
    total.bytes += bytes;
    total.inodes += inodes;
  };
  for (const { root, logs } of containers) {
    if (parts !== 'node') add(root);
    if (parts !== 'image') add(logs);
  }
  if (parts !== 'image') for (const { use } of volumes) add(use);
  return total;
}
