import { join } from 'node:path';
import { component } from '../containers/paths.ts';

/**
 * Where a pod's things lie, as upstream's tools and CSI drivers expect them, under the root folder (`/var/lib/kubelet`):
 *
 *     pods/UID/volumes/kubernetes.io~empty-dir/NAME
 *     pods/UID/volumes/kubernetes.io~secret/NAME      -> ../../../../pods-memory/UID/kubernetes.io~secret/NAME
 *     pods/UID/{etc-hosts,plugins,containers/NAME/HASH,volume-subpaths/VOLUME/CONTAINER/INDEX}
 *     pods-memory/                                     one tmpfs for all pods
 *
 * Everything made from the API (ConfigMaps, Secrets, tokens, downward API) lies in the one tmpfs: it never wears the
 * flash, no secret ever touches it, and a pod needs no mount of its own. Its name begins as the pods' folder does, so that
 * k3s-killall.sh unmounts it too.
 */
export interface Layout {
  readonly rootDir: string;
  readonly podsDir: string;
  readonly memoryDir: string;
  podDir(uid: string): string;
  podMemoryDir(uid: string): string;
  /** `plugin` such as `kubernetes.io~empty-dir`. */
  volumeDir(uid: string, plugin: string, volume: string): string;
  memoryVolumeDir(uid: string, plugin: string, volume: string): string;
}

export function createLayout(rootDir: string): Layout {
  const podsDir = join(rootDir, 'pods');
  const memoryDir = join(rootDir, 'pods-memory');
  const podDir = (uid: string) => join(podsDir, component(uid, 'pod uid'));
  const podMemoryDir = (uid: string) => join(memoryDir, component(uid, 'pod uid'));
  return {
    rootDir,
    podsDir,
    memoryDir,
    podDir,
    podMemoryDir,
    volumeDir: (uid, plugin, volume) => join(podDir(uid), 'volumes', plugin, component(volume, 'volume name')),
    memoryVolumeDir: (uid, plugin, volume) => join(podMemoryDir(uid), plugin, component(volume, 'volume name')),
  };
}
