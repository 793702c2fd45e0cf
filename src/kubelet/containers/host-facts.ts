import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, readText } from '../../host/index.ts';
import { hugepageUnit } from './resources.ts';

/** Page sizes of the kernel, as its hugetlb controller names them. */
export async function hugepageUnits(): Promise<string[]> {
  const entries = await readdir('/sys/kernel/mm/hugepages').catch(() => []);
  return entries
    .map((name) => /^hugepages-(\d+)kB$/.exec(name)?.[1])
    .filter((kb) => kb !== undefined)
    .map((kb) => hugepageUnit(Number(kb) * 1024))
    .sort();
}

/** True if the kernel can bound swap. `kubepods`: path of a cgroup below the root, since v2's root has no such file. */
export async function hasSwapController(version: 1 | 2, mount: string, kubepods: string): Promise<boolean> {
  const file =
    version === 2
      ? join(mount, kubepods, 'memory.swap.max')
      : join(mount, 'memory', kubepods, 'memory.memsw.limit_in_bytes');
  return exists(file);
}

/** True if the kernel has AppArmor on, and its files are there for the runtime to use. */
export async function hasAppArmor(): Promise<boolean> {
  const enabled = (await readText('/sys/module/apparmor/parameters/enabled')) ?? '';
  return enabled.startsWith('Y') && (await exists('/sys/kernel/security/apparmor'));
}

/** `/sys/devices/system/cpu/cpuN/thermal_throttle` of all processors: containers must not read a neighbour's load there. */
export async function thermalPaths(root = '/sys/devices/system/cpu'): Promise<string[]> {
  const cpus = (await readdir(root).catch(() => [])).filter((name) => /^cpu\d+$/.test(name));
  const paths = cpus
    .sort((a, b) => Number(a.slice(3)) - Number(b.slice(3)))
    .map((cpu) => join(root, cpu, 'thermal_throttle'));
  const there = await Promise.all(paths.map(exists));
  return paths.filter((_, i) => there[i]);
}
