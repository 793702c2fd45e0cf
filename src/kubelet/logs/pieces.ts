import { basename } from 'node:path';

/**
 * The files of one container's log. The one in use is `N.log`; rotation puts it aside as `N.log.20260102-030405` (local
 * time) and packs it into `….gz` one rotation later, by way of `….tmp` (kubelet pkg/kubelet/logs). Whatever else lies
 * beside it is not ours.
 */
export interface LogPieces {
  /** Names without folder, oldest first, each piece once. */
  kept: string[];
  /** Half-made copies. */
  broken: string[];
  /** Pieces that lie there packed and unpacked: the agent died before it removed the unpacked one. */
  doubled: string[];
}

const STAMP = /^\d{8}-\d{6}$/;

/** Sorts a folder's names into the pieces of the log at `path`. */
export function logPieces(path: string, names: readonly string[]): LogPieces {
  const prefix = `${basename(path)}.`;
  const out: LogPieces = { kept: [], broken: [], doubled: [] };
  const all = new Set(names);
  for (const name of names) {
    if (!name.startsWith(prefix)) continue;
    const rest = name.slice(prefix.length);
    if (rest.endsWith('.tmp') && STAMP.test(rest.slice(0, 15))) out.broken.push(name);
    else if (STAMP.test(rest)) (all.has(`${name}.gz`) ? out.doubled : out.kept).push(name);
    else if (rest.endsWith('.gz') && STAMP.test(rest.slice(0, -3))) out.kept.push(name);
  }
  out.kept.sort();
  return out;
}

/** What a log that is put aside now is called. */
export function rotatedPath(path: string, now: number): string {
  const at = new Date(now);
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`;
  return `${path}.${day}-${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`;
}
