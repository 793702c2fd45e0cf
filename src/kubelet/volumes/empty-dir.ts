import { chmod, chown, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, parseQuantity } from '../../core/index.ts';
import type { Pod, Volume } from '../../kube/index.ts';
import { hugepageBytes, limitsOf, podLimits, requestsOf } from '../containers/resources.ts';
import { type AnyContainer, specOf } from '../containers/spec.ts';
import { volumeError } from './errors.ts';
import { isMountPoint, type MountRequest, neverSwapped } from './mounter.ts';

/** With what servers from 1.36 on may send. */
export type EmptyDirSource = NonNullable<Volume['emptyDir']> & { stickyBit?: boolean };

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
  source: EmptyDirSource,
  context: EmptyDirContext,
): Promise<MountRequest | undefined> {
  const { pod, directory } = context;
  const medium = source.medium ?? '';
  const fsGroup = pod.spec.securityContext?.fsGroup;
  if (medium !== '' && medium !== 'Memory' && !medium.startsWith('HugePages'))
    throw volumeError('VOLUME_SETUP', `unknown storage medium "${medium.slice(0, 64)}"`);
  await makeFolder(directory, { fsGroup, sticky: source.stickyBit === true });
  if (medium === '' || (await isMountPoint(directory))) return undefined;
  const group = fsGroup === undefined ? [] : [`gid=${fsGroup}`];
  const mode = fsGroup === undefined ? 'mode=1777' : 'mode=3777';
  if (medium === 'Memory') {
    const size = Math.max(4096, memorySize(source.sizeLimit, context));
    const options = [`size=${size}`, mode, ...group, ...neverSwapped()];
    return { source: 'tmpfs', target: directory, type: 'tmpfs', options };
  }
  return {
    source: 'nodev',
    target: directory,
    type: 'hugetlbfs',
    options: [`pagesize=${pageSize(medium, pod)}`, mode.replace('1777', '0777'), ...group],
  };
}

async function makeFolder(
  directory: string,
  { fsGroup, sticky }: { fsGroup: number | undefined; sticky: boolean },
): Promise<void> {
  if (await exists(directory)) return;
  await mkdir(dirname(directory), { recursive: true, mode: 0o750 });
  const unready = `${directory}.unready`;
  await rm(unready, { recursive: true, force: true });
  await mkdir(unready);
  if (fsGroup !== undefined) await chown(unready, 0, fsGroup);
  await chmod(unready, (fsGroup === undefined ? 0o777 : 0o2777) | (sticky ? 0o1000 : 0));
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
/** The least of the node's memory, the pod's memory limit (if all its containers have one) and the volume's own. */
function memorySize(limit: string | number | undefined, { pod, allocatableMemory }: EmptyDirContext): number {
  const own = limit === undefined ? 0 : Math.floor(parseQuantity(limit));
  const level = specOf(pod).resources?.limits?.memory;
  const whole = level !== undefined || askingContainers(pod).every((c) => (limitsOf(c).get('memory') ?? 0) > 0);
  const pods = whole ? (podLimits(pod).get('memory') ?? 0) : 0;
  return Math.min(...[allocatableMemory, pods, own].filter((bytes) => bytes > 0));
}

/** Without the ephemeral ones, which ask for nothing. */
function askingContainers({ spec }: Pod): AnyContainer[] {
  return [...spec.containers, ...(spec.initContainers ?? [])];
}

/** Bytes: of `HugePages-2Mi`, or for `HugePages` the one size the pod asks for; nobody gets pages the pod did not ask for. */
function pageSize(medium: string, pod: Pod): number {
  const names = askingContainers(pod).flatMap((container) => [...requestsOf(container).keys()]);
  const level = Object.keys(specOf(pod).resources?.requests ?? {});
  const asked = new Set([...names, ...level].map(hugepageBytes).filter((bytes) => bytes !== undefined));
  const named = medium === 'HugePages' ? undefined : hugepageBytes(medium.replace('HugePages-', 'hugepages-'));
  if (medium === 'HugePages' && asked.size > 1)
    throw volumeError('VOLUME_SETUP', `medium: ${medium} can't be used if container requests multiple huge page sizes`);
  const found = [...asked].find((bytes) => medium === 'HugePages' || bytes === named);
  if (found === undefined)
    throw volumeError(
      'VOLUME_SETUP',
      `medium ${medium.slice(0, 64)}: hugePages storage requested, but there is no resource request for huge pages`,
    );
  return found;
}
