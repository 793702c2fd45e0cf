import type { Pod } from '../../kube/index.ts';
import { sysctlName } from '../containers/sandbox-config.ts';

/** Allowed to every pod: they touch nothing but its own namespaces (kubelet pkg/kubelet/sysctl/safe_sysctls.go). */
const SAFE = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_wmem',
]);

function namespaceOf(sysctl: string): 'ipc' | 'net' | undefined {
  if (sysctl === 'kernel.sem' || /^(kernel\.shm|kernel\.msg|fs\.mqueue\.)/.test(sysctl)) return 'ipc';
  return sysctl.startsWith('net.') ? 'net' : undefined;
}

/** Upstream's text for the first sysctl the pod may not set; undefined if all are allowed. */
export function forbiddenSysctl(pod: Pod, allowedUnsafe: readonly string[]): string | undefined {
  const allowed = allowedUnsafe.map(sysctlName);
  for (const { name } of pod.spec.securityContext?.sysctls ?? []) {
    const sysctl = sysctlName(name);
    const permitted =
      SAFE.has(sysctl) || allowed.some((p) => (p.endsWith('*') ? sysctl.startsWith(p.slice(0, -1)) : p === sysctl));
    if (!permitted) return `forbidden sysctl: "${sysctl.slice(0, 253)}" not allowlisted`;
    const namespace = namespaceOf(sysctl);
    if (namespace === 'ipc' && pod.spec.hostIPC)
      return `forbidden sysctl: "${sysctl}" not allowed with host ipc enabled`;
    if (namespace === 'net' && pod.spec.hostNetwork)
      return `forbidden sysctl: "${sysctl}" not allowed with host net enabled`;
  }
  return undefined;
}
