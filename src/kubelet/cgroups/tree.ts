import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AgentError, type Clock, errorCode } from '../../core/index.ts';
import type { CgroupSetting } from './settings.ts';

/**
 * The kernel's cgroup file systems. A path such as `/kubepods/burstable` is one folder on v2 and one in each
 * controller's hierarchy on v1. Errors are AgentError `POD_CGROUP`.
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
  async function roots(): Promise<string[]> {
    if (version === 2) return [mount];
    hierarchies ??= (await readdir(mount, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(mount, entry.name));
    return hierarchies;
  }

  /** v2: lets a cgroup's children use the controllers, from the root down, once. */
  async function delegate(path: string): Promise<void> {
    if (delegated.has(path)) return;
    if (path !== '/') await delegate(dirname(path));
    const directory = join(mount, path);
    await mkdir(directory, { recursive: true });
    const available = (await readFile(join(directory, 'cgroup.controllers'), 'utf8')).trim().split(' ');
    const on = (await readFile(join(directory, 'cgroup.subtree_control'), 'utf8')).trim().split(' ');
    for (const controller of V2_CONTROLLERS)
      if (available.includes(controller) && !on.includes(controller))
        await writeFile(join(directory, 'cgroup.subtree_control'), `+${controller}`).catch((cause) => {
          // cpu and memory are what pods are bound by; the rest may be held back by a parent.
          if (controller === 'cpu' || controller === 'memory') throw fault(`cgroup ${path} can't be shared out`, cause);
        });
    delegated.add(path);
  }

  async function write(directory: string, { file, value }: CgroupSetting): Promise<void> {
    const path = join(directory, file);
    const now = (await readFile(path, 'utf8')).trim();
    if (now !== value) await writeFile(path, value);
  }

  /** Depth first; the kernel frees a cgroup a moment after its last process. */
  async function removeFolder(directory: string): Promise<void> {
    let entries: string[];
    try {
      entries = (await readdir(directory, { withFileTypes: true })).filter((e) => e.isDirectory()).map((e) => e.name);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    for (const name of entries) await removeFolder(join(directory, name));
    await rmdir(directory).catch((error) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
  }

  async function kill(directory: string): Promise<void> {
    if (version === 2) {
      const killed = await writeFile(join(directory, 'cgroup.kill'), '1').then(
        () => true,
        () => false,
      );
      if (killed) return;
    }
    for (const name of await readdir(directory, { recursive: true }).catch(() => [] as string[]))
      if (name === 'cgroup.procs' || name.endsWith('/cgroup.procs'))
        for (const pid of (await readFile(join(directory, name), 'utf8').catch(() => '')).split('\n'))
          if (/^[1-9]\d*$/.test(pid)) killProcess(Number(pid));
  }

  return {
    async ensure(path, settings, { parents = true } = {}) {
      try {
        if (version === 2) {
          if (parents) await delegate(dirname(path));
          await mkdir(join(mount, path), { recursive: true });
          for (const setting of settings) await write(join(mount, path), setting);
          return;
        }
        for (const setting of settings) {
          const directory = join(mount, setting.controller, path);
          await mkdir(directory, { recursive: true });
          await write(directory, setting);
        }
      } catch (cause) {
        throw cause instanceof AgentError ? cause : fault(`cgroup ${path} can't be made`, cause);
      }
    },
    async children(path) {
      const found = new Set<string>();
      for (const root of await roots())
        for (const entry of await readdir(join(root, path), { withFileTypes: true }).catch(() => []))
          if (entry.isDirectory()) found.add(entry.name);
      return [...found];
    },
    async remove(path, signal) {
      for (const root of await roots()) {
        const directory = join(root, path);
        for (let attempt = 0; ; attempt++) {
          try {
            await removeFolder(directory);
            break;
          } catch (cause) {
            if (errorCode(cause) !== 'EBUSY' || attempt >= 8) throw fault(`cgroup ${path} can't be removed`, cause);
            await kill(directory);
            await clock.sleep(10 * 2 ** attempt, signal);
          }
        }
      }
    },
  };
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
