import { readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from '../../host/index.ts';
import { logPieces, rotatedPath } from './pieces.ts';

export interface Rotation {
  path: string;
  /** Files of one log at most, the one in use among them; at least 2. */
  maxFiles: number;
  /** Makes the writer open `path` anew. */
  reopen(): Promise<void>;
  /** Milliseconds since the epoch. */
  now: number;
  signal: AbortSignal;
  /** A piece could not be packed, such as for want of space; the rotation goes on without. */
  unpacked(error: unknown): void;
}

/**
 * Puts a container's log aside and has the writer begin a new one (kubelet pkg/kubelet/logs/container_log_manager.go):
 * what an earlier attempt left half done is cleared, the oldest pieces go, those put aside earlier are packed. The newest
 * stays as it is: the writer may still hold it, and log shippers read it to its end. Throws if the log is as it was.
 */
export async function rotateLog(rotation: Rotation): Promise<void> {
  const { path, maxFiles, reopen, now, signal, unpacked } = rotation;
  const folder = dirname(path);
  const pieces = await tidyPieces(path);
  // The log in use and the one that is about to be put aside count too. The oldest go first, under nobody's eyes.
  const excess = pieces.slice(0, Math.max(0, pieces.length - (maxFiles - 2)));
  for (const name of excess) await rm(join(folder, name), { force: true });
  const { compressLog } = await import('./compress.ts');
  for (const name of pieces.slice(excess.length))
    if (!name.endsWith('.gz')) await compressLog(join(folder, name), signal).catch(unlessAborted(signal, unpacked));

  const aside = rotatedPath(path, now);
  // Twice within a second: the earlier piece is not to be written over.
  if ((await exists(aside)) || (await exists(`${aside}.gz`))) return;
  await rename(path, aside);
  try {
    await reopen();
  } catch (error) {
    if (!(await exists(path))) await rename(aside, path);
    throw error;
  }
}

function unlessAborted(signal: AbortSignal, handle: (error: unknown) => void): (error: unknown) => void {
  return (error) => {
    signal.throwIfAborted();
    handle(error);
  };
}

/** Clears half-made copies; the names of the pieces left, oldest first. */
async function tidyPieces(path: string): Promise<string[]> {
  const folder = dirname(path);
  const { kept, broken, doubled } = logPieces(path, await readdir(folder));
  for (const name of broken) await rm(join(folder, name), { force: true });
  if (doubled.length === 0) return kept;
  const { isWholeCopy } = await import('./compress.ts');
  const left = new Set(kept);
  for (const name of doubled) {
    const whole = await isWholeCopy(join(folder, name)).catch(() => false);
    await rm(join(folder, whole ? name : `${name}.gz`), { force: true });
    if (whole) continue;
    left.delete(`${name}.gz`);
    left.add(name);
  }
  return [...left].sort();
}

/** Removes a container's log with all its pieces. */
export async function removeLog(path: string): Promise<void> {
  const folder = dirname(path);
  const { kept, broken, doubled } = logPieces(path, await readdir(folder).catch(() => []));
  await rm(path, { force: true });
  for (const name of [...kept, ...broken, ...doubled]) await rm(join(folder, name), { force: true });
}
