import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Kernel settings by their path below /proc/sys, such as `net/ipv4/conf/all/forwarding`. */
export interface Sysctl {
  /** The value without its line end; undefined if this kernel has no such setting. */
  get(key: string): Promise<string | undefined>;
  /** Writes; throws the system's error (ENOENT: no such setting, EACCES or EROFS: not allowed). */
  set(key: string, value: string): Promise<void>;
}

export function hostSysctl(root = '/proc/sys'): Sysctl {
  return {
    get: async (key) => {
      try {
        return (await readFile(join(root, key), 'utf8')).trim();
      } catch {
        return undefined;
      }
    },
    set: (key, value) => writeFile(join(root, key), `${value}\n`),
  };
}

/** Sets a value only if it differs; true if it wrote. */
export async function ensureSysctl(sysctl: Sysctl, key: string, value: string): Promise<boolean> {
  const old = await sysctl.get(key);
  if (old?.replace(/\s+/g, ' ') === value) return false;
  await sysctl.set(key, value);
  return true;
}
