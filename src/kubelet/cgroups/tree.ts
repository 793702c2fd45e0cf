import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentError, type Clock, errorCode } from '../../core/index.ts';
import type { CgroupSetting } from './settings.ts';

/**
 * The kernel's cgroup file systems. A path such as `/kubepods/burstable` is one folder on v2 and one in each
 * controller's hierarchy on v1. Errors are AgentError `POD_CGROUP`. Reading and writing is synchronous, since it touches
 * only memory; making and removing folders is not, since it waits for a lock that moving processes holds for long.
 */
export interface CgroupTree {
  /** Makes the cgroup with these settings; what it has already is left alone. */
  ensure(path: string, settings: readonly CgroupSetting[], options?: { parents?: boolean }): Promise<void>;
  /** Names of the folders in a cgroup, of all hierarchies. */
  children(path: string): Promise<string[]>;
  /** Ends what still runs in it and removes it with all below. */
  remove(path: string, signal: AbortSignal): Promise<void>;
}

const V2_CONTROLLERS = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids'];

export function createCgroupTree(options: { version: 1 | 2; mount: string; clock: Clock }): CgroupTree {
  const { version, mount, clock } = options;
  const delegated = new Set<string>();
  let hierarchies: string[] | undefined;

  /** Roots of all hierarchies: the mount itself on v2, each controller's folder on v1 (links are second names). */
  function roots(): string[] {
    if (version === 2) return [mount];
    hierarchies ??= folders(mount).map((name) => join(mount, name));
    return hierarchies;
  }

  /** v2: lets a cgroup's children use the controllers, from the root down, once. */
  async function delegate(path: string): Promise<void> {
    if (delegated.has(path)) return;
    if (path !== '/') await delegate(dirname(path));
    const directory = join(mount, path);
    await mkdir(directory, { recursive: true });
    const words = (file: string) => readFileSync(join(directory, file), 'utf8').trim().split(' ');
    const available = words('cgroup.controllers');
    const on = words('cgroup.subtree_control');
    for (const controller of V2_CONTROLLERS)
      if (available.includes(controller) && !on.includes(controller))
        try {
          writeFileSync(join(directory, 'cgroup.subtree_control'), `+${controller}`);
        } catch (cause) {
          // cpu and memory are what pods are bound by; the rest may be held back by a parent.
          if (controller === 'cpu' || controller === 'memory') throw fault(`cgroup ${path} can't be shared out`, cause);
        }
    delegated.add(path);
  }

  function write(directory: string, { file, value }: CgroupSetting): void {
    const path = join(directory, file);
    if (readFileSync(path, 'utf8').trim() !== value) writeFileSync(path, value);
  }

  /** Depth first; the kernel frees a cgroup a moment after its last process. */
  async function removeFolder(directory: string): Promise<void> {
    for (const name of folders(directory)) await removeFolder(join(directory, name));
    await rmdir(directory).catch((error) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
  }

  function kill(directory: string): void {
    if (version === 2)
      try {
        writeFileSync(join(directory, 'cgroup.kill'), '1');
        return;
      } catch {
        // Kernels before 5.14 lack it.
      }
    for (const name of folders(directory)) kill(join(directory, name));
    for (const pid of processes(directory)) killProcess(pid);
  }

  return {
    async ensure(path, settings, { parents = true } = {}) {
      try {
        if (version === 2) {
          if (parents) await delegate(dirname(path));
          await mkdir(join(mount, path), { recursive: true });
          for (const setting of settings) write(join(mount, path), setting);
          return;
        }
        for (const setting of settings) {
          const directory = join(mount, setting.controller, path);
          await mkdir(directory, { recursive: true });
          write(directory, setting);
        }
      } catch (cause) {
        throw cause instanceof AgentError ? cause : fault(`cgroup ${path} can't be made`, cause);
      }
    },
    async children(path) {
      const found = new Set<string>();
      for (const root of roots()) for (const name of folders(join(root, path))) found.add(name);
      return [...found];
    },
    async remove(path, signal) {
      for (const root of roots()) {
        const directory = join(root, path);
        if (!existsSync(directory)) continue;
        for (let attempt = 0; ; attempt++) {
          try {
            await removeFolder(directory);
            break;
          } catch (cause) {
            if (errorCode(cause) !== 'EBUSY' || attempt >= 8) throw fault(`cgroup ${path} can't be removed`, cause);
            kill(directory);
            await clock.sleep(10 * 2 ** attempt, signal);
          }
        }
      }
    },
  };
}

/** Names of the folders in a folder; none if there is no such folder. */
function folders(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function processes(directory: string): number[] {
  try {
    return readFileSync(join(directory, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter((pid) => /^[1-9]\d*$/.test(pid))
      .map(Number);
  } catch {
    return []; // It went meanwhile.
  }
}

function killProcess(pid: number): void {
  if (pid === process.pid) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}

function fault(message: string, cause: unknown): AgentError {
  return new AgentError({
    code: 'POD_CGROUP',
    message: `${message}${cause instanceof Error ? `: ${cause.message}` : ''}`,
    remedy:
      'Check that the kernel has the cpu, memory and pids cgroup controllers on (cgroup_enable=memory in cmdline.txt).',
    cause,
  });
}
