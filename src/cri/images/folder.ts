import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../core/index.ts';
import { watchPath } from '../watch.ts';
import { kindOf } from './archive-file.ts';

export interface ImageFile {
  readonly path: string;
  readonly size: number;
  readonly mtimeMs: number;
}

/** Files and folders below a folder; a missing one is empty. Names with a leading dot are left out. */
export async function scanFolder(root: string): Promise<{ files: ImageFile[]; folders: string[] }> {
  const files: ImageFile[] = [];
  const folders: string[] = [];
  const visit = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder).catch(() => undefined);
    if (entries === undefined) return;
    folders.push(folder);
    for (const name of entries.sort()) {
      const path = join(folder, name);
      const info = name.startsWith('.') ? undefined : await stat(path).catch(() => undefined);
      if (info?.isDirectory() && depth < 16) await visit(path, depth + 1);
      else if (info?.isFile() && kindOf(path)) files.push({ path, size: info.size, mtimeMs: info.mtimeMs });
    }
  };
  await visit(root, 0);
  return { files, folders };
}

/**
 * Calls `changed` once nothing has changed in the tree for `quietMs`: a file being copied is taken when it is whole. The
 * folders to follow are told by `follow` after each scan, since inotify knows no sub-folders; it says whether any was new,
 * for what came into it since the scan was not seen.
 */
export function watchTree(
  root: string,
  changed: () => void,
  quietMs = 2_000,
  clock: Clock = systemClock,
): { follow(folders: readonly string[]): boolean; close(): void } {
  const watchers = new Map<string, FSWatcher>();
  let cancel = () => {};
  const later = () => {
    cancel();
    cancel = clock.after(quietMs, changed);
  };
  const stopRoot = watchPath(root, later, 0, clock);
  return {
    follow(folders) {
      let added = false;
      for (const [folder, watcher] of watchers)
        if (!folders.includes(folder)) {
          watcher.close();
          watchers.delete(folder);
        }
      for (const folder of folders) {
        if (watchers.has(folder)) continue;
        try {
          const watcher = watch(folder, { persistent: false }, (_, name) => {
            if (!name?.startsWith('.')) later();
          });
          watcher.on('error', () => {
            watcher.close();
            watchers.delete(folder);
            later();
          });
          watchers.set(folder, watcher);
          added = true;
        } catch {
          later(); // gone since the scan, or out of watches: the next scan tries again
        }
      }
      return added;
    },
    close() {
      stopRoot();
      cancel();
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}
