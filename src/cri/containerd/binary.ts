import { stat } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { AgentError } from '../../core/index.ts';
import type { Exec } from '../../host/index.ts';

export interface ContainerdVersion {
  readonly major: number;
  readonly minor: number;
  /** As containerd prints it, without the leading `v`. */
  readonly text: string;
}

export interface ContainerdBinary {
  readonly path: string;
  /** Changes when the file does: `size:mtimeMs:inode`. */
  readonly stamp: string;
  /** `ctr`, which imports images; beside containerd or on the path. */
  readonly ctr: string | undefined;
}

/** The first of these folders with such a program; undefined if none has it. */
export async function findProgram(name: string, folders: readonly string[]): Promise<string | undefined> {
  if (name.includes('/')) return (await isProgram(name)) ? name : undefined;
  for (const folder of folders) {
    const path = join(folder, name);
    if (folder !== '' && (await isProgram(path))) return path;
  }
  return undefined;
}

async function isProgram(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isFile() === true && (info.mode & 0o111) !== 0;
}

/** The folders of PATH; the usual ones when it is unset, since a service may start without it. */
export function searchPath(env: NodeJS.ProcessEnv): string[] {
  return (env.PATH || '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin').split(delimiter);
}

/** Throws `CONTAINERD_NOT_FOUND`. `binary`: a path, or a name looked up in `folders`. */
export async function findContainerd(folders: readonly string[], binary = 'containerd'): Promise<ContainerdBinary> {
  const path = await findProgram(binary, folders);
  if (path === undefined)
    throw new AgentError({
      code: 'CONTAINERD_NOT_FOUND',
      message: binary.includes('/') ? `${binary} is not a program` : `no ${binary} in ${folders.join(delimiter)}`,
      remedy: 'install containerd 1.6 or newer (Debian, Raspberry Pi OS: apt-get install containerd runc)',
    });
  const info = await stat(path);
  return {
    path,
    stamp: `${info.size}:${Math.trunc(info.mtimeMs)}:${info.ino}`,
    ctr: await findProgram('ctr', [dirname(path), ...folders]),
  };
}

/** Asks the program. Throws `CONTAINERD_UNSUPPORTED` for what is older than 1.6 (no CRI v1) or says no version. */
export async function containerdVersion(path: string, exec: Exec, signal?: AbortSignal): Promise<ContainerdVersion> {
  const { stdout } = await exec.run([path, '--version'], { timeoutMs: 60_000, ...(signal ? { signal } : {}) });
  return supportedVersion(stdout);
}

/** From `containerd --version`: `containerd <package> <version> <revision>`. */
export function supportedVersion(output: string): ContainerdVersion {
  const m = /\sv?(\d+)\.(\d+)\.\d+\S*/.exec(output);
  const version = { major: Number(m?.[1]), minor: Number(m?.[2]), text: m?.[0].trim().replace(/^v/, '') ?? '' };
  if (!m || version.major < 1 || (version.major === 1 && version.minor < 6))
    throw new AgentError({
      code: 'CONTAINERD_UNSUPPORTED',
      message: `containerd says it is "${output.trim().slice(0, 120)}"`,
      remedy: 'install containerd 1.6 or newer: older ones do not speak CRI v1',
    });
  return version;
}
