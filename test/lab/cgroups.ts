import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CgroupMount {
  path: string;
  /** `cgroup2`, or the options a v1 hierarchy is mounted with. */
  type: 'cgroup' | 'cgroup2';
  options: string;
}

/** The cgroup hierarchies of this machine, each where it usually is: they may be mounted elsewhere as well. */
export function cgroupMounts(): CgroupMount[] {
  const seen = new Set<string>();
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .flatMap((line): CgroupMount[] => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , device = '', , path = ''] = left.split(' ');
      const [type = '', , superOptions = ''] = right.split(' ');
      if (type !== 'cgroup' && type !== 'cgroup2') return [];
      if (!path.startsWith('/sys/fs/cgroup') || seen.has(device)) return [];
      seen.add(device);
      if (type === 'cgroup2') return [{ path, type, options: '' }];
      const names = superOptions.split(',').filter((option) => !['rw', 'ro', 'xattr'].includes(option));
      const named = names.find((option) => option.startsWith('name='));
      return [{ path, type, options: named ? `none,${named}` : names.join(',') }];
    });
}

/** A folder for a host in every hierarchy; returns the folders. */
export function makeCgroups(name: string): string[] {
  const mounts = cgroupMounts();
  return mounts.map(({ path, options }) => {
    const folder = join(path, name);
    if (mounts.length === 1) enableControllers(path);
    mkdirSync(folder, { recursive: true });
    if (options.split(',').includes('cpuset')) {
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        writeFileSync(join(folder, file), readFileSync(join(path, file), 'utf8'));
      writeFileSync(join(folder, 'cgroup.clone_children'), '1');
    }
    return folder;
  });
}

/** In v2 a folder has the controllers its parent hands down. */
function enableControllers(path: string): void {
  for (const controller of readFileSync(join(path, 'cgroup.controllers'), 'utf8').trim().split(' '))
    try {
      if (controller) writeFileSync(join(path, 'cgroup.subtree_control'), `+${controller}`);
    } catch {
      // one that can't be handed down here
    }
}

/** Kills what still runs in a host's cgroups and removes them, deepest first. */
export function removeCgroups(name: string): void {
  for (const { path } of cgroupMounts()) {
    const folder = join(path, name);
    if (existsSync(folder)) removeTree(folder);
  }
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  for (const pid of readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean))
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // gone meanwhile
    }
  for (let i = 0; i < 100; i++)
    try {
      rmdirSync(folder);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
}
