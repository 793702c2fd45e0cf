import { readFile, stat } from 'node:fs/promises';
import { type Meminfo, parseMeminfo, readFilesystem } from '../../hardware/index.ts';
import { readText } from '../../host/index.ts';
import { type CgroupReader, readCgroupMemory } from '../cgroups/usage.ts';
import type { Observation, Observations, Signal } from './signals.ts';

export interface ObserveOptions {
  /** What is to be measured: nothing is read for anything else. */
  signals: ReadonlySet<Signal>;
  /** The kubelet's folder and containerd's: their file systems are `nodefs` and `imagefs`. */
  nodeDir: string;
  imageDir: string;
  cgroups: CgroupReader;
  /** Path of kubepods, and what it is bound to in bytes, if it is. */
  kubepods: string;
  allocatableMemory?: number | undefined;
  /** `/proc` unless told otherwise. */
  procDir?: string;
}

/** A few small reads of /proc and statfs; takes about a tenth of a millisecond. */
export async function observe(options: ObserveOptions): Promise<Observations> {
  const { signals, nodeDir, imageDir, procDir = '/proc' } = options;
  const found = new Map<Signal, Observation>();
  const tasks: Promise<void>[] = [];
  const disk = async (name: 'nodefs' | 'imagefs', path: string) => {
    const use = await readFilesystem(path);
    if (use === undefined) return;
    if (use.total > 0) found.set(`${name}.available`, { available: use.available, capacity: use.total });
    // Some file systems (btrfs) make inodes as they are needed and count none.
    if (use.inodes > 0) found.set(`${name}.inodesFree`, { available: use.inodesFree, capacity: use.inodes });
  };
  if (signals.has('nodefs.available') || signals.has('nodefs.inodesFree')) tasks.push(disk('nodefs', nodeDir));
  if (signals.has('imagefs.available') || signals.has('imagefs.inodesFree')) tasks.push(disk('imagefs', imageDir));
  if (signals.has('memory.available') || signals.has('allocatableMemory.available'))
    tasks.push(memory(options, procDir, found));
  if (signals.has('pid.available'))
    tasks.push(
      readTasks(procDir).then((seen) => {
        if (seen !== undefined) found.set('pid.available', seen);
      }),
    );
  await Promise.all(tasks);
  return found;
}

async function memory(options: ObserveOptions, procDir: string, found: Map<Signal, Observation>): Promise<void> {
  const meminfo = parseMeminfo(await readFile(`${procDir}/meminfo`, 'utf8'));
  const pods = await readCgroupMemory(options.cgroups, options.kubepods).catch(() => undefined);
  const swap =
    meminfo('SwapFree') > 0
      ? {
          isCompressed: /^\/dev\/zram/m.test((await readText(`${procDir}/swaps`)) ?? ''),
          fixed: boundAnon(options, pods),
        }
      : undefined;
  found.set('memory.available', availableMemory(meminfo, swap));
  const limit = options.allocatableMemory;
  if (limit !== undefined && pods !== undefined)
    found.set('allocatableMemory.available', { available: Math.max(0, limit - pods.workingSet), capacity: limit });
}

/** On cgroup v2 containers get no swap, so what they hold stays in memory. */
function boundAnon({ cgroups }: ObserveOptions, pods: { inactiveAnon: number } | undefined): number {
  return cgroups.version === 2 ? (pods?.inactiveAnon ?? 0) : 0;
}

/**
 * What the kubelet calls memory.available: all but the working set of the root cgroup. Beside that, what swap can still
 * take of idle anonymous memory is not lost, and nobody is evicted for it; compressed swap in RAM (zram) frees only about
 * half of what it takes. Upstream leaves swap out, and evicts pods of boards that have plenty of it.
 */
export function availableMemory(
  meminfo: Meminfo,
  swap: { isCompressed: boolean; fixed: number } | undefined,
): Observation {
  const total = meminfo('MemTotal');
  // Anonymous and file pages: what the root cgroup is charged.
  const charged = meminfo('AnonPages') + meminfo('Cached') + meminfo('Buffers') + meminfo('SwapCached');
  const workingSet = Math.min(total, Math.max(0, charged - meminfo('Inactive(file)')));
  const idle = swap === undefined ? 0 : Math.max(0, meminfo('Inactive(anon)') - swap.fixed);
  const movable = Math.min(meminfo('SwapFree'), idle);
  return { available: total - workingSet + Math.floor(movable * (swap?.isCompressed ? 0.5 : 1)), capacity: total };
}

/** Tasks of the whole system (pkg/kubelet/stats/pidlimit): the fourth field of loadavg needs no walk of /proc. */
async function readTasks(procDir: string): Promise<Observation | undefined> {
  const [capacity, load] = await Promise.all([readTaskLimit(procDir), readText(`${procDir}/loadavg`)]);
  const running = Number(load?.split(' ')[3]?.split('/')[1]);
  if (!Number.isFinite(capacity) || !Number.isFinite(running)) return undefined;
  return { available: capacity - running, capacity };
}

/** How many tasks the kernel allows; not finite if it doesn't say. */
export async function readTaskLimit(procDir = '/proc'): Promise<number> {
  const limits = await Promise.all(
    ['pid_max', 'threads-max'].map((file) => readText(`${procDir}/sys/kernel/${file}`).catch(() => undefined)),
  );
  return Math.min(...limits.filter((text) => text !== undefined).map(Number));
}

/** True if images and containers lie on another file system than the kubelet's folders. */
export async function hasImageFilesystem(nodeDir: string, imageDir: string): Promise<boolean> {
  const [node, image] = await Promise.all([nodeDir, imageDir].map((path) => stat(path).catch(() => undefined)));
  return node !== undefined && image !== undefined && node.dev !== image.dev;
}
