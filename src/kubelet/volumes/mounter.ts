import { randomBytes } from 'node:crypto';
import { rm, stat, writeFile } from 'node:fs/promises';
import { release } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Exec } from '../../host/index.ts';
import { readText } from '../../host/index.ts';
import { runMountTool } from './mount-tool.ts';
import { ensureSharedRoot } from './shared-root.ts';

/** One mount to make. With `fd` the source is exactly what that descriptor has open. */
export interface MountRequest {
  source: string;
  target: string;
  type: string;
  /** Such as `size=1048576` or `bind`. */
  options: readonly string[];
  fd?: number;
}

export interface Mounter {
  /** All in one process; throws if any fails (those made stay). */
  mount(requests: readonly MountRequest[], signal: AbortSignal): Promise<void>;
  /** All in one process, in the order given. `force`: what is still to be written to a server that is away is given up. */
  unmount(targets: readonly string[], signal: AbortSignal, force?: boolean): Promise<void>;
  /** Lets mounts below a folder reach containers and theirs the host; true if that needed a mount. */
  share(directory: string, signal: AbortSignal): Promise<boolean>;
  /** Mount points at or below the paths, last made first. */
  below(paths: readonly string[]): Promise<string[]>;
  /** Something is mounted right there, bind mounts too. The path itself is not looked at: what serves it may hang. */
  isMounted(path: string): Promise<boolean>;
}

/** mount(8), since Node has no mount(2). */
export function createMounter(exec: Exec, options: { scratchDir: string; mountinfo?: string }): Mounter {
  const mountinfo = options.mountinfo ?? '/proc/self/mountinfo';
  const below = async (paths: readonly string[]) => {
    const text = (await readText(mountinfo)) ?? '';
    // A host with many containers has many mounts; usually none of them is asked for.
    if (!paths.some((path) => text.includes(basename(path)))) return [];
    return parseMountPoints(text)
      .filter((point) => paths.some((path) => point === path || point.startsWith(`${path}/`)))
      .reverse();
  };
  return {
    async mount(requests, signal) {
      if (requests.length === 0) return;
      const fds = requests.flatMap((r) => (r.fd === undefined ? [] : [r.fd]));
      let slot = 3;
      const lines = requests.map((r) => {
        // The child sees handed descriptors as 3, 4, …; the link of /proc leads to the open file itself.
        const source = r.fd === undefined ? r.source : `/proc/self/fd/${slot++}`;
        return { ...r, source };
      });
      const only = lines.length === 1 ? lines[0] : undefined;
      if (only) {
        const argv = ['mount', '-c', '-t', only.type, '-o', only.options.join(','), only.source, only.target];
        await runMountTool(exec, argv, { signal, extraFds: fds });
        return;
      }
      const table = join(options.scratchDir, `.fstab-${randomBytes(6).toString('hex')}`);
      const text = lines.map(
        (r) => `${fstabField(r.source)} ${fstabField(r.target)} ${r.type} ${r.options.join(',')} 0 0\n`,
      );
      await writeFile(table, text.join(''), { mode: 0o600 });
      try {
        await runMountTool(exec, ['mount', '-c', '-a', '-T', table], { signal, extraFds: fds });
      } finally {
        await rm(table, { force: true });
      }
    },
    async unmount(targets, signal, force = false) {
      // Many paths make a long argument list; a list is bounded.
      for (let i = 0; i < targets.length; i += 200)
        await runMountTool(exec, ['umount', '-c', ...(force ? ['-f'] : []), ...targets.slice(i, i + 200)], { signal });
    },
    share: (directory, signal) =>
      ensureSharedRoot(directory, { mountinfo, run: (argv) => runMountTool(exec, argv, { signal }) }),
    below,
    isMounted: async (path) => (await below([path])).includes(path),
  };
}

/** A file system of its own begins at this folder (a bind mount of the same one is not seen so). */
export async function isMountPoint(folder: string): Promise<boolean> {
  return (await stat(folder)).dev !== (await stat(dirname(folder))).dev;
}

/** The option that keeps a tmpfs out of the swap, where the kernel knows it: from Linux 6.4. */
export function neverSwapped(kernel = release()): string[] {
  const [major = 0, minor = 0] = kernel.split('.').map((n) => Number.parseInt(n, 10));
  return major > 6 || (major === 6 && minor >= 4) ? ['noswap'] : [];
}

/** Mount points in mount order; octal escapes undone. */
export function parseMountPoints(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((point) => point !== undefined)
    .map((point) =>
      point.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
}

function fstabField(path: string): string {
  return path.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}
