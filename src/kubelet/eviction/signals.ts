/** What can run short on a node, by the kubelet's names (pkg/kubelet/eviction/api/types.go). */
export type Signal =
  | 'memory.available'
  | 'allocatableMemory.available'
  | 'nodefs.available'
  | 'nodefs.inodesFree'
  | 'imagefs.available'
  | 'imagefs.inodesFree'
  | 'containerfs.available'
  | 'containerfs.inodesFree'
  | 'pid.available';

export type Pressure = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';
export type StarvedResource = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

/** Bytes, inodes or processes. */
export interface Observation {
  available: number;
  capacity: number;
}

/** What could be measured; a signal that can't is left out. */
export type Observations = ReadonlyMap<Signal, Observation>;

export function resourceOf(signal: Signal): StarvedResource {
  if (signal === 'pid.available') return 'pids';
  if (isMemory(signal)) return 'memory';
  return signal.endsWith('.inodesFree') ? 'inodes' : 'ephemeral-storage';
}

export function pressureOf(signal: Signal): Pressure {
  if (signal === 'pid.available') return 'PIDPressure';
  return isMemory(signal) ? 'MemoryPressure' : 'DiskPressure';
}

export function isMemory(signal: Signal): boolean {
  return signal === 'memory.available' || signal === 'allocatableMemory.available';
}
