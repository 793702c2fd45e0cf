import { join } from 'node:path';
import { describeError, errorCode, isAbort, type Logger } from '../core/index.ts';
import type { Mount } from '../cri/types.ts';
import { component, configError, criMount, imageMount, type PlannedMount } from './containers/index.ts';
import { type Mounter, makeTarget, openSubPath, prepareTarget, resolveSubPath } from './volumes/index.ts';

export interface SubPathContext {
  podDir: string;
  container: string;
  mounter: Mounter;
  log: Logger;
  /** What the runtime knows the images of image volumes by. */
  images?: ReadonlyMap<string, string> | undefined;
  signal: AbortSignal;
}

/**
 * Turns planned mounts into the runtime's, subPaths included: what a container could tamper with is opened safely and
 * bind-mounted by descriptor under the pod's folder, all in one process. Throws `CONTAINER_CONFIG`; what exactly failed
 * is only logged, since it could tell about the host's files (upstream's rule).
 */
export async function makeMounts(planned: readonly PlannedMount[], context: SubPathContext): Promise<Mount[]> {
  const { podDir, container, mounter, signal } = context;
  const out: Mount[] = [];
  const open: { close(): Promise<void> }[] = [];
  const binds: Parameters<Mounter['mount']>[0][number][] = [];
  let at = planned[0];
  try {
    for (const mount of planned) {
      at = mount;
      if (mount.volume.image !== undefined) {
        out.push(imageMount(mount, context.images?.get(mount.name)));
        continue;
      }
      if (mount.subPath === '') {
        out.push(criMount(mount, mount.volume.hostPath));
        continue;
      }
      if (mount.volume.trusted) {
        out.push(criMount(mount, await resolveSubPath(mount.volume.hostPath, mount.subPath)));
        continue;
      }
      const handle = await openSubPath(mount.volume.hostPath, mount.subPath);
      open.push(handle);
      const target = join(
        podDir,
        'volume-subpaths',
        component(mount.name, 'volume name'),
        component(container, 'container name'),
        String(mount.index),
      );
      const state = await prepareTarget(target, handle);
      if (state === 'existing') {
        // The folder was replaced since the last run of the container: what is mounted here is the old one.
        const old = (await mounter.below([target])).filter((point) => point === target);
        if (old.length > 0) await mounter.unmount(old, signal);
        await makeTarget(target, (await handle.stat()).isDirectory());
      }
      if (state !== 'mounted') binds.push({ source: '', target, type: 'none', options: ['bind'], fd: handle.fd });
      out.push(criMount(mount, target));
    }
    await mounter.mount(binds, signal);
    return out;
  } catch (error) {
    if (isAbort(error)) throw error;
    context.log.warn('a subPath could not be prepared', { container, error: describeError(error) });
    const failed = errorCode(error) === 'SUBPATH_CREATE' ? 'create subPath directory' : 'prepare subPath';
    // Without the cause: what is shown of an error tells its causes, too.
    throw configError(`failed to ${failed} for volumeMount "${at?.name}" of container "${container}"`);
  } finally {
    await Promise.all(open.map((handle) => handle.close()));
  }
}
