import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exists } from './files.ts';

/*
 * Files on their way to replace others. A power cut or kill -9 may leave them, some of them with a key in it; nobody
 * ever reads them. They carry the number of their process and a mark of its run, and whoever first asks for a file of a
 * folder removes those that no living process writes: one look a folder and run, save where folders come and go.
 */

const LEFT = /\.tmp-(?:(\d+)-)?([0-9a-f]{4})[0-9a-f]{4}$/;
const RUN = randomBytes(2).toString('hex');
const MAX_SWEPT = 500;
/** By folder: the last sweep of it. */
const swept = new Map<string, Promise<void>>();
let made = 0;

export function temporaryPath(path: string): string {
  made = (made + 1) % 0x1_0000;
  return `${path}.tmp-${process.pid}-${RUN}${made.toString(16).padStart(4, '0')}`;
}

/** Removes what earlier runs left beside `path`; to be awaited before a temporary file is made there. */
export function sweepBeside(path: string): Promise<void> {
  const dir = dirname(path);
  let sweep = swept.get(dir);
  if (sweep === undefined) {
    if (swept.size >= MAX_SWEPT) swept.clear(); // pods bring folders of their own
    sweep = sweepFolder(dir).catch(() => {}); // what can't be removed does no harm
    swept.set(dir, sweep);
  }
  return sweep;
}

async function sweepFolder(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const left = LEFT.exec(name);
    if (left === null) continue;
    const [, pid, run] = left;
    // One with our number and another mark is of an earlier boot.
    const isOfOurs = pid === String(process.pid);
    if (isOfOurs ? run === RUN : pid !== undefined && (await exists(`/proc/${pid}`))) continue;
    await rm(join(dir, name), { force: true });
  }
}
