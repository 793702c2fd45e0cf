import type { IdMapping, LinuxSandboxSecurityContext, PodSandboxConfig, PortMapping } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { assertBandwidth } from './bandwidth.ts';
import type { ResolvConf } from './dns.ts';
import type { PodHostname } from './hostname.ts';
import { sandboxLabels } from './labels.ts';
import { overheadResources, type ResourceHost, sandboxResources } from './linux-resources.ts';
import { podLogDirectory } from './paths.ts';
import { parseAmounts } from './resources.ts';
import { namespaces, selinux, supplementalGroups } from './security.ts';
import { type AnyContainer, isSidecar, specOf } from './spec.ts';

export interface SandboxContext {
  attempt: number;
  /** Cgroup of the pod, as the runtime's driver names it. */
  cgroupParent: string;
  logDir: string;
  dns: ResolvConf;
  hostname: PodHostname;
  host: ResourceHost;
  /** Of a pod with its own user namespace. */
  users?: IdMapping | undefined;
}

/** The sandbox's configuration (kubelet pkg/kubelet/kuberuntime/kuberuntime_sandbox.go). Pure; throws `POD_BANDWIDTH`. */
export function makeSandboxConfig(pod: Pod, context: SandboxContext): PodSandboxConfig {
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  assertBandwidth(pod);
  const mappings = portMappings(pod);
  const sysctls = pod.spec.securityContext?.sysctls ?? [];
  const overhead = parseAmounts(pod.spec.overhead);
  return {
    metadata: { name, namespace, uid, attempt: context.attempt },
    ...(!pod.spec.hostNetwork && { hostname: context.hostname.hostname }),
    logDirectory: podLogDirectory(context.logDir, pod),
    dnsConfig: context.dns,
    ...(mappings.length > 0 && { portMappings: mappings }),
    labels: sandboxLabels(pod),
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: context.cgroupParent,
      securityContext: securityContext(pod, context.users),
      ...(sysctls.length > 0 && { sysctls: Object.fromEntries(sysctls.map((s) => [sysctlName(s.name), s.value])) }),
      resources: sandboxResources(pod, context.host),
      ...(overhead.size > 0 && { overhead: overheadResources(overhead, context.host) }),
    },
  };
}

/** `kernel/shm_rmid_forced` and `kernel.shm_rmid_forced` are one; in interface names dots stay after slashes. */
export function sysctlName(name: string): string {
  const first = name.search(/[./]/);
  if (first < 0 || name[first] === '.') return name;
  return name.replace(/[./]/g, (c) => (c === '/' ? '.' : '/'));
}

function securityContext(pod: Pod, users: IdMapping | undefined): LinuxSandboxSecurityContext {
  const sc = specOf(pod).securityContext;
  const labels = selinux(sc?.seLinuxOptions);
  const all: AnyContainer[] = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  return {
    privileged: all.some((c) => c.securityContext?.privileged === true),
    seccomp: { profileType: 'RuntimeDefault' },
    namespaceOptions: namespaces(pod, { users }),
    supplementalGroups: supplementalGroups(pod),
    ...(sc?.supplementalGroupsPolicy && { supplementalGroupsPolicy: sc.supplementalGroupsPolicy }),
    ...(sc?.runAsUser !== undefined && { runAsUser: { value: sc.runAsUser } }),
    ...(sc?.runAsGroup !== undefined && { runAsGroup: { value: sc.runAsGroup } }),
    ...(labels && { selinuxOptions: labels }),
  };
}

/** Ports published on the host; pods on the host's network have theirs there anyway. */
function portMappings(pod: Pod): PortMapping[] {
  if (pod.spec.hostNetwork) return [];
  const containers: AnyContainer[] = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  const seen = new Map<string, PortMapping>();
  for (const { ports = [] } of containers)
    for (const { containerPort, hostPort = 0, protocol, hostIP } of ports) {
      if (hostPort <= 0) continue;
      const proto = protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP';
      seen.set(`${proto}/${hostIP ?? ''}/${hostPort}`, {
        protocol: proto,
        containerPort,
        hostPort,
        ...(hostIP && { hostIp: hostIP }),
      });
    }
  return [...seen.values()];
}
