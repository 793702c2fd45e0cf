import { rmSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, errorCode, isAbort } from '../../core/index.ts';
import { volumeError } from './errors.ts';
import type { Layout } from './layout.ts';
import type { Mounter } from './mounter.ts';
import { removeTree } from './remove-tree.ts';
import type { Storage } from './storage.ts';

const SHARES = '/volumes/kubernetes.io~nfs/';

export interface TearDownContext {
  layout: Layout;
  mounter: Mounter;
  storage: Storage | undefined;
  signal: AbortSignal;
}

/**
 * Unmounts all that is mounted below a pod's folders (containers may have left mounts too), then removes them. Throws
 * `VOLUME_TEARDOWN` and leaves the rest if something can't be unmounted: what lies behind a mount is never removed.
 */
export async function tearDownPod(
  podUid: string,
  { layout, mounter, storage, signal }: TearDownContext,
): Promise<void> {
  const folders = [layout.podDir(podUid), layout.podMemoryDir(podUid)];
  try {
    const driven = storage ? join(layout.podDir(podUid), 'volumes/kubernetes.io~csi/') : undefined;
    const mounted = (await mounter.below(folders)).filter((point) => !isDriven(point, driven));
    await unmountAll(mounted, mounter, signal);
    await storage?.tearDown(podUid, signal);
    await removeTree(layout.podDir(podUid));
    // Only this agent writes there, to memory, and nothing is mounted below any more.
    rmSync(layout.podMemoryDir(podUid), { recursive: true, force: true });
  } catch (error) {
    if (isAbort(error) || errorCode(error) === 'VOLUME_TEARDOWN') throw error;
    throw volumeError(
      'VOLUME_TEARDOWN',
      `the volumes of pod ${podUid} can't be removed: ${describeError(error)}`,
      error,
    );
  }
}

/** Shares of a server on their own, so that one that is away keeps nothing else mounted. */
async function unmountAll(points: readonly string[], mounter: Mounter, signal: AbortSignal): Promise<void> {
  const own = points.filter((point) => !point.includes(SHARES));
  if (own.length > 0) await mounter.unmount(own, signal);
  for (const share of points.filter((point) => point.includes(SHARES)))
    await mounter.unmount([share], signal).catch((error) => {
      if (errorCode(error) !== 'EXEC_TIMEOUT') throw error;
      return mounter.unmount([share], signal, true);
    });
}

/** What a driver mounted, a driver unmounts. */
function isDriven(point: string, folder: string | undefined): boolean {
  return folder !== undefined && point.startsWith(folder) && /^[^/]+\/mount$/.test(point.slice(folder.length));
}

/** Uids of all pods that have a folder here. */
export async function podsOnDisk(layout: Layout): Promise<string[]> {
  const found = new Set<string>();
  for (const folder of [layout.podsDir, layout.memoryDir])
    for (const entry of await entries(folder)) if (entry.isDirectory()) found.add(entry.name);
  return [...found];
}

async function entries(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
