import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { cgroupMounts } from '../../test/lab/cgroups.ts';
import { tryRun } from '../../test/lab/index.ts';

/** One-minute load from which on figures are not to be believed. */
export const BUSY = 0.5;

/** What a reader must know of the machine to make sense of the figures. */
export async function machineFacts(): Promise<string[]> {
  const os = /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux';
  const v1 = cgroupMounts().some(({ type, options }) => type === 'cgroup' && options.includes('memory'));
  const versionOf = async (program: string) =>
    `${program} ${/version (\S+)/.exec((await tryRun([program, '--version'])) ?? '')?.[1] ?? 'none'}`;
  const model = cpus()[0]?.model.trim() ?? process.arch;
  const load = loadavg()[0] ?? 0;
  return [
    ...(load > BUSY ? ['**a trial run on a busy machine (load above 0.5): not to be believed**'] : []),
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, load ${load.toFixed(1)} before the run`,
    `${os}, kernel ${release()}, cgroup ${v1 ? 'v1' : 'v2'}, ${await versionOf('runc')}, ${await versionOf('crun')}`,
  ];
}
