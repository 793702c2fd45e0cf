import { chmod, chown, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, parseQuantity } from '../../core/index.ts';
import type { Pod, Volume } from '../../kube/index.ts';
import { hugepageBytes, podLimits } from '../containers/resources.ts';
import { volumeError } from './errors.ts';
import type { MountRequest } from './mounter.ts';

export interface EmptyDirContext {
  pod: Pod;
  directory: string;
  /** Bytes of memory pods may use on this node. */
  allocatableMemory: number;
}

/**
 * Makes an emptyDir's folder; for memory and huge pages gives back the mount it still needs (undefined if it stands).
 * The folder appears with its owner and mode set, so a crash can't leave half of that.
 */
export async function ensureEmptyDir(
  source: NonNullable<Volume['emptyDir']>,
  context: EmptyDirContext,
): Promise<MountRequest | undefined> {
  const { pod, directory } = context;
  const medium = source.medium ?? '';
  const fsGroup = pod.spec.securityContext?.fsGroup;
  if (medium !== '' && medium !== 'Memory' && !medium.startsWith('HugePages'))
    throw volumeError('VOLUME_SETUP', `unknown storage medium "${medium.slice(0, 64)}"`);
  await makeFolder(directory, fsGroup);
  if (medium === '' || (await isMountPoint(directory))) return undefined;
  const group = fsGroup === undefined ? [] : [`gid=${fsGroup}`];
  const mode = fsGroup === undefined ? 'mode=1777' : 'mode=3777';
  if (medium === 'Memory') {
    const size = Math.max(4096, memorySize(source.sizeLimit, context));
    return { source: 'tmpfs', target: directory, type: 'tmpfs', options: [`size=${size}`, mode, ...group] };
  }
  return {
    source: 'nodev',
    target: directory,
    type: 'hugetlbfs',
    options: [`pagesize=${pageSize(medium, pod)}`, mode.replace('1777', '0777'), ...group],
  };
}

async function makeFolder(directory: string, fsGroup: number | undefined): Promise<void> {
  if (await exists(directory)) return;
  await mkdir(dirname(directory), { recursive: true, mode: 0o750 });
  const unready = `${directory}.unready`;
  await rm(unready, { recursive: true, force: true });
  await mkdir(unready);
  if (fsGroup !== undefined) await chown(unready, 0, fsGroup);
  await chmod(unready, fsGroup === undefined ? 0o777 : 0o2777);
  await rename(unready, directory);
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** A folder on another file system than its parent is a mount. */
async function isMountPoint(directory: string): Promise<boolean> {
  return (await stat(directory)).dev !== (await stat(dirname(directory))).dev;
}

/** The least of the node's memory, the pod's memory limit and the volume's own. */
function memorySize(limit: string | number | undefined, { pod, allocatableMemory }: EmptyDirContext): number {
  const own = limit === undefined ? 0 : Math.floor(parseQuantity(limit));
  const pods = podLimits(pod).get('memory') ?? 0;
  return Math.min(...[allocatableMemory, pods, own].filter((bytes) => bytes > 0));
}

/** `HugePages-2Mi`, or the one size the pod asks for. */
function pageSize(medium: string, pod: Pod): number {
  const named = medium.startsWith('HugePages-')
    ? hugepageBytes(`hugepages-${medium.slice('HugePages-'.length)}`)
    : undefined;
  if (named !== undefined) return named;
  const asked = [...podLimits(pod).keys()].map(hugepageBytes).filter((bytes) => bytes !== undefined);
  if (asked.length !== 1 || medium !== 'HugePages')
    throw volumeError('VOLUME_SETUP', `medium ${medium.slice(0, 64)} needs one huge page size among the pod's limits`);
  return asked[0] as number;
}
