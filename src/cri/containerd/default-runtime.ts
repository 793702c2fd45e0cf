import { AgentError, type Logger } from '../../core/index.ts';
import type { Exec } from '../../host/index.ts';
import type { ContainerdVersion } from './binary.ts';
import type { HostFacts } from './host-facts.ts';
import type { ExtraRuntime } from './runtimes.ts';

export interface DefaultRuntimeInput {
  /** `--default-runtime` */
  asked: string | undefined;
  found: readonly ExtraRuntime[];
  containerd: ContainerdVersion;
  facts: Pick<HostFacts, 'mixedCgroups'>;
  exec: Exec;
  log: Logger;
}

/** crun takes runtime-spec 1.0 alone before this; containerd 1.7 and later write newer ones. */
const ANY_SPEC = [1, 14, 3] as const;

/**
 * The runtime of pods without a RuntimeClass: what was asked for, else crun where the host has one that works with this
 * containerd and these cgroups (a pod costs a third less processor time than with runc), else undefined: runc. Throws
 * `RUNTIME_NOT_FOUND`.
 */
export async function defaultRuntime(input: DefaultRuntimeInput): Promise<string | undefined> {
  const { asked, found, containerd, facts, exec, log } = input;
  if (asked !== undefined) {
    mustBeThere(asked, found);
    return asked;
  }
  const crun = found.find((runtime) => runtime.name === 'crun');
  if (crun === undefined) return undefined;
  const objection = facts.mixedCgroups
    ? 'it refuses cgroup v1 hosts that leave controllers to v2'
    : await tooOld(crun.binary, containerd, exec);
  if (objection === undefined) return 'crun';
  log.info('crun is there but not used: pods run with runc', { crun: crun.binary, why: objection });
  return undefined;
}

async function tooOld(crun: string, containerd: ContainerdVersion, exec: Exec): Promise<string | undefined> {
  const { stdout } = await exec.run([crun, '--version'], { timeoutMs: 10_000 }).catch(() => ({ stdout: '' }));
  const version = /^crun version (\d+)\.(\d+)(?:\.(\d+))?/m
    .exec(stdout)
    ?.slice(1)
    .map((part) => Number(part ?? 0));
  if (version === undefined) return 'it does not say its version';
  if (containerd.major === 1 && containerd.minor <= 6) return undefined;
  for (const [i, least] of ANY_SPEC.entries())
    if (version[i] !== least)
      return (version[i] as number) > least
        ? undefined
        : `containerd ${containerd.text} needs crun ${ANY_SPEC.join('.')} or newer, this is ${version.join('.')}`;
  return undefined;
}

function mustBeThere(name: string, found: readonly ExtraRuntime[]): void {
  if (name === 'runc' || found.some((runtime) => runtime.name === name)) return;
  throw new AgentError({
    code: 'RUNTIME_NOT_FOUND',
    message: `the default runtime ${name} was not found; there are ${['runc', ...found.map((runtime) => runtime.name)].join(', ')}`,
    remedy: `install ${name}, or leave out --default-runtime`,
  });
}
