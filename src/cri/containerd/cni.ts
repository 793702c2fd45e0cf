import { join } from 'node:path';
import { exists } from '../../host/index.ts';

/** The plugins the agent's own network list names. */
const CNI_PLUGINS = ['bridge', 'host-local', 'portmap', 'loopback'] as const;

/** Where distributions put them, after the agent's own data folder. */
export function cniFolders(dataDir: string): string[] {
  return [join(dataDir, 'data/cni'), '/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];
}

/**
 * Those of the folders that hold any of the plugins, the fullest first (containerd 1.x and 2.0 look in one folder only),
 * and the plugins that none of them has.
 */
export async function findCniPlugins(
  folders: readonly string[],
): Promise<{ binDirs: string[]; missing: readonly string[] }> {
  const counted = await Promise.all(
    folders.map(async (folder) => {
      const there = await Promise.all(CNI_PLUGINS.map((name) => exists(join(folder, name))));
      return { folder, there, count: there.filter(Boolean).length };
    }),
  );
  const useful = counted.filter((entry) => entry.count > 0).sort((a, b) => b.count - a.count);
  return {
    binDirs: useful.map((entry) => entry.folder),
    missing: CNI_PLUGINS.filter((_, i) => !useful.some((entry) => entry.there[i])),
  };
}
