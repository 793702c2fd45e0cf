import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from './files.ts';

/*
 * Files on their way to replace others. A power cut or kill -9 may leave them, some of them with a key in it; nobody
 * ever reads them. They carry the number of their process, and whoever first asks for a file of a folder removes those
 * that no living process writes: one look a folder and run.
 */

const LEFT = /\.tmp-(?:(\d+)-)?[0-9a-f]{8}$/;
/** By folder: the one sweep of it. */
const swept = new Map<string, Promise<void>>();

export function temporaryPath(path: string): string {
  return `${path}.tmp-${process.pid}-${randomBytes(4).toString('hex')}`;
}

/** Removes what earlier runs left beside `path`; to be awaited before a temporary file is made there. */
export function sweepBeside(path: string): Promise<void> {
  const dir = dirname(path);
  let sweep = swept.get(dir);
  if (sweep === undefined) {
    sweep = sweepFolder(dir).catch(() => {}); // what can't be removed does no harm
    swept.set(dir, sweep);
  }
  return sweep;
}

async function sweepFolder(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const left = LEFT.exec(name);
    if (left === null) continue;
    const [, pid] = left;
    // None of ours can be there yet: one with our number is of an earlier boot.
    if (pid !== undefined && pid !== String(process.pid) && (await exists(`/proc/${pid}`))) continue;
    await rm(join(dir, name), { force: true });
  }
}
