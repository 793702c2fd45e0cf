import type { FilesystemUsage } from '../types.ts';

/** A filesystem's usage as CRI has it on the wire. */
export interface RawFilesystemUsage {
  timestamp: number;
  fsId?: { mountpoint: string };
  usedBytes?: number;
  inodesUsed?: number;
}

export function toFilesystemUsage(raw: RawFilesystemUsage): FilesystemUsage {
  return {
    timestamp: raw.timestamp,
    mountpoint: raw.fsId?.mountpoint ?? '',
    usedBytes: raw.usedBytes ?? 0,
    inodesUsed: raw.inodesUsed ?? 0,
  };
}
