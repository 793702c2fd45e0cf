import { describeError, type Logger } from '../../core/index.ts';
import type { PodMaterials } from '../materials.ts';
import type { LogLinks } from './files.ts';
import type { RuntimeView } from './runtime-view.ts';

export interface LeftoversOptions {
  /** Uids of all pods that are looked after; asked for anew each time, since pods come meanwhile. */
  known(): Set<string>;
  materials: Pick<PodMaterials, 'orphans' | 'release' | 'sweepStaged' | 'sweepLogs'>;
  view: RuntimeView;
  links: LogLinks;
  log: Logger;
  signal: AbortSignal;
}

/** Removes what pods of earlier runs left on the disk: folders, mounts, staged volumes, logs and links to them. */
export async function sweepLeftovers(options: LeftoversOptions): Promise<void> {
  const { known, materials, view, links, log, signal } = options;
  for (const uid of await materials.orphans(known()))
    if (!known().has(uid))
      await materials.release(uid, signal).catch((error: unknown) =>
        // Still mounted, perhaps: that of one pod must not keep those of all others.
        log.warn('what an earlier pod left could not be removed', { uid, error: describeError(error) }),
      );
  await materials.sweepStaged();
  await materials.sweepLogs(known());
  const ids = new Set(view.pods().flatMap(({ uid }) => view.get(uid).containers.map(({ id }) => id)));
  await links.sweep((id) => ids.has(id));
}
