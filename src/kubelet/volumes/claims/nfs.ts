import { mkdir } from 'node:fs/promises';
import { AgentError, errorCode } from '../../../core/index.ts';
import type { MountedVolume } from '../../materials.ts';
import { mountFailure } from '../errors.ts';
import type { SetUpContext } from './index.ts';
import type { StorageSpec } from './spec.ts';

const PLUGIN = 'kubernetes.io~nfs';
/** mount.nfs gives up by itself after two minutes. */
const MOUNT_MS = 150_000;

/** A share of an NFS server (kubernetes pkg/volume/nfs). Mounted on its own: a server that is away holds up no one else. */
export async function setUpNfs(spec: StorageSpec, context: SetUpContext): Promise<MountedVolume> {
  const { podUid, layout, mounter, exec, signal } = context;
  const source = spec.persistent?.spec?.nfs ?? spec.inline?.nfs;
  const { server = '', path = '' } = source ?? {};
  const readOnly = spec.readOnly || source?.readOnly === true;
  const target = layout.volumeDir(podUid, PLUGIN, spec.name);
  const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
  const options = [...(spec.persistent?.spec?.mountOptions ?? []), ...(readOnly ? ['ro'] : [])];
  const args = ['-t', 'nfs', ...(options.length > 0 ? ['-o', options.join(',')] : []), `${host}:${path}`, target];
  try {
    // Never looked at: with its server away that would take one of the process's few threads for files, for good.
    if (!(await mounter.isMounted(target))) {
      await mkdir(target, { recursive: true, mode: 0o750 });
      await exec.run(['mount', ...args], { signal, timeoutMs: MOUNT_MS });
    }
  } catch (error) {
    if (signal.aborted) throw error;
    throw mountFailure('MountVolume.SetUp failed', spec.name, asUpstream(error, args));
  }
  return { hostPath: target, readOnly, selinuxRelabel: false, trusted: false };
}

function asUpstream(error: unknown, args: readonly string[]): unknown {
  if (!(error instanceof AgentError) || errorCode(error) !== 'EXEC_FAILED') return error;
  return `mount failed: ${error.message}\nMounting command: mount\nMounting arguments: ${args.join(' ')}`;
}
