import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { release } from 'node:os';

/** What containerd's configuration depends on; probed once, then constant. */
export interface HostFacts {
  readonly userNamespace: boolean;
  /** CAP_SYS_RESOURCE: without it nobody may lower an oom_score_adj, and containers that ask for it fail to start. */
  readonly mayLowerOomScore: boolean;
  readonly cgroupVersion: 1 | 2;
  /** cgroup v1, but the v2 hierarchy beside it holds controllers as well. */
  readonly mixedCgroups: boolean;
  readonly controllers: readonly string[];
  readonly cgroupWritable: boolean;
  /** `[major, minor]` */
  readonly kernel: readonly [number, number];
  /** Started by systemd (INVOCATION_ID is set). */
  readonly systemd: boolean;
}

const CAP_SYS_RESOURCE = 24n;

/** `root`: where /proc and /sys are, for tests. Files that can't be read count as an ordinary host's. */
export async function probeHost(env: NodeJS.ProcessEnv = process.env, root = ''): Promise<HostFacts> {
  const read = (path: string) => readFile(`${root}${path}`, 'utf8').catch(() => '');
  const [uidMap, status, unified, beside, cgroups, writable] = await Promise.all([
    read('/proc/self/uid_map'),
    read('/proc/self/status'),
    read('/sys/fs/cgroup/cgroup.controllers'),
    read('/sys/fs/cgroup/unified/cgroup.controllers'),
    read('/proc/cgroups'),
    access(`${root}/sys/fs/cgroup`, constants.W_OK).then(
      () => true,
      () => false,
    ),
  ]);
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? 'ffffffffffffffff'}`);
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return {
    userNamespace: uidMap !== '' && !/^\s*0\s+0\s+4294967295\s*$/.test(uidMap),
    mayLowerOomScore: ((capabilities >> CAP_SYS_RESOURCE) & 1n) === 1n,
    cgroupVersion: unified === '' ? 1 : 2,
    mixedCgroups: unified === '' && beside.trim() !== '',
    controllers: unified === '' ? enabledControllers(cgroups) : unified.trim().split(/\s+/),
    cgroupWritable: writable,
    kernel: [major, minor],
    systemd: (env.INVOCATION_ID ?? '') !== '',
  };
}

/** /proc/cgroups: name, hierarchy, number, enabled. */
function enabledControllers(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter(([name, , , enabled]) => name !== undefined && !name.startsWith('#') && enabled === '1')
    .map(([name]) => name as string);
}

/**
 * k3s's rule (pkg/agent/containerd/config_linux.go): containerd, and with it the kubelet, leaves cgroups to systemd when
 * systemd runs the agent, the cpuset controller is there and this is no user namespace.
 */
export function useSystemdCgroup(facts: HostFacts): boolean {
  return facts.systemd && !facts.userNamespace && facts.controllers.includes('cpuset');
}

/** In a user namespace without delegated controllers containers must do without cgroups. */
export function cgroupsUnusable(facts: HostFacts): boolean {
  const has = (name: string) => facts.controllers.includes(name);
  return facts.userNamespace && (!has('cpu') || !has('pids') || !facts.cgroupWritable);
}
