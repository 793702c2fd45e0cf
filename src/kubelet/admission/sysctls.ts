import type { Pod } from '../../kube/index.ts';
import { sysctlName } from '../containers/sandbox-config.ts';

/**
 * Allowed to every pod: they touch nothing but its own namespaces, from a kernel version on
 * (kubelet pkg/kubelet/sysctl/safe_sysctls.go, pkg/util/kernel/constants.go).
 */
const SAFE: Readonly<Record<string, readonly [number, number]>> = {
  'kernel.shm_rmid_forced': [0, 0],
  'net.ipv4.ip_local_port_range': [0, 0],
  'net.ipv4.tcp_syncookies': [0, 0],
  'net.ipv4.ping_group_range': [0, 0],
  'net.ipv4.ip_unprivileged_port_start': [0, 0],
  'net.ipv4.ip_local_reserved_ports': [3, 16],
  'net.ipv4.tcp_keepalive_time': [4, 5],
  'net.ipv4.tcp_fin_timeout': [4, 6],
  'net.ipv4.tcp_keepalive_intvl': [4, 5],
  'net.ipv4.tcp_keepalive_probes': [4, 5],
  'net.ipv4.tcp_rmem': [4, 15],
  'net.ipv4.tcp_wmem': [4, 15],
};

export interface SysctlRules {
  /** Names, or prefixes that end in `*`. */
  allowedUnsafe: readonly string[];
  /** `4.9.337-tegra`; undefined: new enough for all. One that can't be read has none of the younger sysctls. */
  kernelRelease?: string | undefined;
}

function isSafe(sysctl: string, kernelRelease: string | undefined): boolean {
  const since = Object.hasOwn(SAFE, sysctl) ? SAFE[sysctl] : undefined;
  if (since === undefined) return false;
  if (kernelRelease === undefined || since[0] === 0) return true;
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(kernelRelease) ?? [];
  return Number(major) > since[0] || (Number(major) === since[0] && Number(minor) >= since[1]);
}

function namespaceOf(sysctl: string): 'ipc' | 'net' | undefined {
  if (sysctl === 'kernel.sem' || /^(kernel\.shm|kernel\.msg|fs\.mqueue\.)/.test(sysctl)) return 'ipc';
  return sysctl.startsWith('net.') ? 'net' : undefined;
}

/** Upstream's text for the first sysctl the pod may not set; undefined if all are allowed. */
export function forbiddenSysctl(pod: Pod, rules: SysctlRules): string | undefined {
  const allowed = rules.allowedUnsafe.map(sysctlName);
  for (const { name } of pod.spec.securityContext?.sysctls ?? []) {
    const sysctl = sysctlName(name);
    const permitted =
      isSafe(sysctl, rules.kernelRelease) ||
      allowed.some((p) => (p.endsWith('*') ? sysctl.startsWith(p.slice(0, -1)) : p === sysctl));
    if (!permitted) return `forbidden sysctl: "${sysctl.slice(0, 253)}" not allowlisted`;
    const namespace = namespaceOf(sysctl);
    if (namespace === 'ipc' && pod.spec.hostIPC)
      return `forbidden sysctl: "${sysctl}" not allowed with host ipc enabled`;
    if (namespace === 'net' && pod.spec.hostNetwork)
      return `forbidden sysctl: "${sysctl}" not allowed with host net enabled`;
  }
  return undefined;
}
