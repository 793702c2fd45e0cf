import { release } from 'node:os';
import { describeError, errorCode } from '../core/index.ts';
import type { Exec } from './exec.ts';
import { exists, readText } from './files.ts';

export interface LoadModulesOptions {
  exec: Exec;
  names: readonly string[];
  /** Root of the file system; for tests. */
  root?: string;
  signal?: AbortSignal;
}

export interface LoadModulesResult {
  /** Names that are neither loaded nor built in nor could be loaded. */
  missing: string[];
  /** Why, in the tool's words. */
  reason: string | undefined;
}

/** Loads the kernel modules that are neither loaded nor built in, with one modprobe for all. Never throws. */
export async function loadModules(options: LoadModulesOptions): Promise<LoadModulesResult> {
  const { exec, names, root = '/', signal } = options;
  const loaded = await Promise.all(names.map((name) => exists(`${root}/sys/module/${name.replaceAll('-', '_')}`)));
  let wanted = names.filter((_, i) => !loaded[i]);
  if (wanted.length === 0) return { missing: [], reason: undefined };
  const builtIn = await builtInModules(root);
  wanted = wanted.filter((name) => !builtIn.has(name.replaceAll('-', '_')));
  if (wanted.length === 0) return { missing: [], reason: undefined };
  try {
    const { stderr, code } = await exec.run(['modprobe', '-a', ...wanted], {
      okCodes: [1, 255],
      timeoutMs: 60_000,
      ...(signal ? { signal } : {}),
    });
    if (code === 0) return { missing: [], reason: undefined };
    const missing = wanted.filter((name) => new RegExp(`\\b${name.replace(/[-_]/g, '[-_]')}\\b`).test(stderr));
    return { missing: missing.length > 0 ? missing : wanted, reason: stderr.trim().split('\n')[0]?.slice(0, 300) };
  } catch (error) {
    const reason = errorCode(error) === 'EXEC_NOT_FOUND' ? 'modprobe is not installed' : describeError(error);
    return { missing: wanted, reason };
  }
}

/** Many kernels have these compiled in, and compiled-in modules without parameters do not show up in /sys/module. */
async function builtInModules(root: string): Promise<Set<string>> {
  const list = await readText(`${root}/lib/modules/${release()}/modules.builtin`).catch(() => undefined);
  return new Set(
    (list ?? '').split('\n').map((line) => (line.split('/').pop() ?? '').replace(/\.ko.*$/, '').replaceAll('-', '_')),
  );
}
