import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, systemClock } from '../core/index.ts';

/**
 * Calls `changed` some time after a file or folder may have changed, come or gone; it need not be there yet, nor its
 * folder. Changes within `quietMs` of each other are one. The returned function ends it.
 *
 * inotify follows an inode, not a name: so the folder above is watched, and while that is missing, the nearest one that
 * exists.
 */
export function watchPath(path: string, changed: () => void, quietMs = 200, clock: Clock = systemClock): () => void {
  let watcher: FSWatcher | undefined;
  let watched = '';
  let ended = false;
  let cancelTimer = () => {};

  const later = (fn: () => void, ms: number) => {
    cancelTimer();
    cancelTimer = clock.after(ms, fn);
  };
  const fire = () => {
    void arm().then(() => {
      if (!ended) changed();
    });
  };
  const arm = async () => {
    const folder = await nearestFolder(dirname(path));
    if (ended || (watcher && folder === watched)) return;
    watcher?.close();
    watched = folder;
    try {
      watcher = watch(folder, { persistent: false }, (_, name) => {
        // Of another file's changes in the same folder nothing need be known.
        if (folder === dirname(path) && name !== null && !path.endsWith(`/${name}`)) return;
        later(fire, quietMs);
      });
      watcher.on('error', () => {
        watcher?.close();
        watcher = undefined;
        later(fire, 1_000);
      });
    } catch {
      watcher = undefined; // out of inotify watches, or gone between the look and the watch
      later(fire, 30_000);
    }
  };
  void arm().then(async () => {
    // What came between the caller's own look and the watch being there.
    if (!ended && watched !== dirname(path)) await arm();
  });
  return () => {
    ended = true;
    cancelTimer();
    watcher?.close();
  };
}

async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    const info = await stat(at).catch(() => undefined);
    if (info?.isDirectory() || at === dirname(at)) return at;
  }
}
