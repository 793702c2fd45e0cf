import { mkdir } from 'node:fs/promises';
import { AgentError, describeError } from '../../core/index.ts';
import { isMountPoint, type Mounter, neverSwapped } from './mounter.ts';

/**
 * Mounts the one tmpfs that holds every pod's Secrets, tokens and ConfigMaps, unless a former run of the agent did.
 * `bytes`: its bound. Throws `VOLUME_TMPFS`.
 */
export async function ensureSharedTmpfs(
  directory: string,
  bytes: number,
  mounter: Mounter,
  signal: AbortSignal,
): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    if (await isMountPoint(directory)) return;
    const options = ['mode=0700', `size=${bytes}`, 'nosuid', 'nodev', ...neverSwapped()];
    await mounter.mount([{ source: 'tmpfs', target: directory, type: 'tmpfs', options }], signal);
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new AgentError({
      code: 'VOLUME_TMPFS',
      message: `no tmpfs can be mounted at ${directory}: ${describeError(cause)}`,
      ...(cause instanceof AgentError && cause.remedy !== undefined && { remedy: cause.remedy }),
      cause,
    });
  }
}
