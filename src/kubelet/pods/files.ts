import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../core/index.ts';

/** Where people and log shippers look for containers' logs: `NAME_NS_CONTAINER-ID.log`, as upstream names them. */
export interface LogLinks {
  add(link: LogLink): Promise<void>;
  remove(link: Omit<LogLink, 'target'>): Promise<void>;
  /** Removes links whose file is gone or whose container is unknown. */
  sweep(known: (containerId: string) => boolean): Promise<void>;
}

export interface LogLink {
  pod: string;
  namespace: string;
  container: string;
  id: string;
  /** Path of the log file. */
  target: string;
}

/** `directory`: `/var/log/containers`; made when first needed. */
export function createLogLinks(directory: string): LogLinks {
  const pathOf = (l: Omit<LogLink, 'target'>): string => {
    // File names end at 255 bytes; upstream cuts the part before the id (legacy.go, LogSymlink).
    const head = `${l.pod}_${l.namespace}_${l.container}-${l.id}`.slice(0, 251);
    return join(directory, `${head}.log`);
  };
  return {
    async add(link) {
      try {
        await symlink(link.target, pathOf(link));
      } catch (error) {
        if (errorCode(error) === 'EEXIST') return;
        if (errorCode(error) !== 'ENOENT') throw error;
        await mkdir(directory);
        await symlink(link.target, pathOf(link));
      }
    },
    async remove(link) {
      await rm(pathOf(link), { force: true });
    },
    async sweep(known) {
      const names = await readdir(directory).catch(() => []);
      for (const name of names) {
        const id = /-([0-9a-f]{64})\.log$/.exec(name)?.[1];
        if (id === undefined || known(id)) continue;
        const path = join(directory, name);
        const target = await readlink(path).catch(() => undefined);
        const there = target !== undefined && (await lstat(target).catch(() => undefined));
        if (!there) await rm(path, { force: true });
      }
    },
  };
}

/** At most `limit` bytes from a file's end; nothing if it is a link or a pipe, which a container may have put there. */
export async function readEnd(path: string, limit: number): Promise<Buffer> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let file: FileHandle;
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) === 'ELOOP' || errorCode(error) === 'ENXIO') return Buffer.alloc(0);
    throw error;
  }
  try {
    const stat = await file.stat();
    if (stat.isDirectory()) throw new Error(`read ${path}: is a directory`);
    if (!stat.isFile()) return Buffer.alloc(0);
    const length = Math.min(limit, stat.size);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, stat.size - length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
