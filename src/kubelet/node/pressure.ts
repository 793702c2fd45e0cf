import { readFile } from 'node:fs/promises';
import { type FilesystemUse, readFilesystem, readMemory } from '../../hardware/index.ts';

/** Below these the node is under pressure: shares of the whole, or bytes. The defaults are k3s's evictionHard. */
export interface PressureThresholds {
  /** Share of the node's file system (0.05 = 5 %). */
  diskAvailable: number;
  inodesAvailable: number;
  /** Bytes of MemAvailable; 0 = never (k3s sets no memory threshold). */
  memoryAvailable: number;
  /** Share of the process ids. */
  pidsAvailable: number;
}

export const DEFAULT_THRESHOLDS: PressureThresholds = {
  diskAvailable: 0.05,
  inodesAvailable: 0.05,
  memoryAvailable: 0,
  pidsAvailable: 0,
};

export interface Pressure {
  memoryPressure: boolean;
  diskPressure: boolean;
  pidPressure: boolean;
}

/** A pressure seen lasts at least this long (evictionPressureTransitionPeriod), so that it does not flap. */
const HOLD_MS = 5 * 60_000;

/**
 * Watches for pressure by a few cheap reads of /proc and statfs; call it as often as wanted. `paths` are the folders
 * whose file systems count (the kubelet's and containerd's).
 */
export function pressureGauge(paths: readonly string[], thresholds: PressureThresholds, monotonic: () => number) {
  const heldUntil: Record<keyof Pressure, number> = { memoryPressure: 0, diskPressure: 0, pidPressure: 0 };
  return async (): Promise<Pressure> => {
    const [memory, pids, ...disks] = await Promise.all([
      readMemory(),
      thresholds.pidsAvailable > 0 ? readPids() : undefined,
      ...paths.map(readFilesystem),
    ]);
    const seen: Pressure = {
      memoryPressure: memory.available < thresholds.memoryAvailable,
      diskPressure: disks.some((disk) => disk !== undefined && tooFull(disk, thresholds)),
      pidPressure: pids !== undefined && 1 - pids.used / pids.max < thresholds.pidsAvailable,
    };
    const now = monotonic();
    for (const key of Object.keys(seen) as (keyof Pressure)[]) {
      if (seen[key]) heldUntil[key] = now + HOLD_MS;
      else seen[key] = now < heldUntil[key];
    }
    return seen;
  };
}

function tooFull(disk: FilesystemUse, thresholds: PressureThresholds): boolean {
  const inodesLow = disk.inodes > 0 && disk.inodesFree / disk.inodes < thresholds.inodesAvailable;
  return disk.total > 0 && (disk.available / disk.total < thresholds.diskAvailable || inodesLow);
}

async function readPids(): Promise<{ used: number; max: number }> {
  const [max, load] = await Promise.all([
    readFile('/proc/sys/kernel/pid_max', 'utf8'),
    readFile('/proc/loadavg', 'utf8'),
  ]);
  // The fourth field of loadavg is running/all tasks: the only count of tasks that needs no walk of /proc.
  return { used: Number(load.split(' ')[3]?.split('/')[1] ?? 0), max: Number(max) || 1 };
}
