import { join } from 'node:path';
import { readText } from '../../host/index.ts';

export interface CgroupMemory {
  /** Bytes without the file pages that the kernel would give up first (cAdvisor's container_memory_working_set_bytes). */
  workingSet: number;
  /** Bytes that could be swapped out. */
  inactiveAnon: number;
}

export interface CgroupReader {
  version: 1 | 2;
  mount: string;
}

/** Memory of a cgroup and all below it; undefined if there is no such cgroup. */
export async function readCgroupMemory(
  { version, mount }: CgroupReader,
  path: string,
): Promise<CgroupMemory | undefined> {
  const folder = version === 2 ? join(mount, path) : join(mount, 'memory', path);
  const [usage, stat] = await Promise.all([
    readText(join(folder, version === 2 ? 'memory.current' : 'memory.usage_in_bytes')),
    readText(join(folder, 'memory.stat')),
  ]);
  if (usage === undefined || stat === undefined) return undefined;
  const field = (name: string) =>
    Number(new RegExp(`^${version === 2 ? '' : 'total_'}${name} (\\d+)`, 'm').exec(stat)?.[1] ?? 0);
  return { workingSet: Math.max(0, Number(usage) - field('inactive_file')), inactiveAnon: field('inactive_anon') };
}

/** Tasks of a cgroup and all below it; undefined if there is no such cgroup or nobody counts. */
export async function readCgroupTasks({ version, mount }: CgroupReader, path: string): Promise<number | undefined> {
  const folder = version === 2 ? join(mount, path) : join(mount, 'pids', path);
  const text = await readText(join(folder, 'pids.current'));
  return text === undefined ? undefined : Number(text);
}
