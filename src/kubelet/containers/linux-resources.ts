import type { LinuxContainerResources } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { oomScoreAdj } from './qos.ts';
import {
  type Amounts,
  CPU_PERIOD_US,
  effectiveLimits,
  hugepageLimits,
  milliCpuToQuota,
  milliCpuToShares,
  podLimits,
  podRequests,
  requestsOf,
} from './resources.ts';
import type { AnyContainer } from './spec.ts';

/** What of the host decides how resources are written. */
export interface ResourceHost {
  cgroupVersion: 1 | 2;
  /** Bytes of RAM. */
  memoryCapacity: number;
  cpuCfsQuota: boolean;
  /** Swap can be bounded: memory.swap.max or memory.memsw is there. */
  swapController: boolean;
  /** Page sizes the kernel's hugetlb controller knows: `2MB`. */
  hugepageUnits: readonly string[];
}

/** One container's resources (kubelet kuberuntime_container_linux.go). Containers get no swap beyond their memory. */
export function containerResources(pod: Pod, container: AnyContainer, host: ResourceHost): LinuxContainerResources {
  const limits = effectiveLimits(pod, container);
  const memory = limits.get('memory') ?? 0;
  const wanted = hugepageLimits(limits);
  const unified: Record<string, string> = {};
  if (host.cgroupVersion === 2) {
    // All processes of a container end together when one is killed for memory, as on cgroup v1.
    unified['memory.oom.group'] = '1';
    if (host.swapController) unified['memory.swap.max'] = '0';
  }
  return {
    ...cpu(new Map([...limits, ...requestsOf(container)]), limits, host),
    ...(memory > 0 && { memoryLimitInBytes: memory }),
    ...(memory > 0 && host.cgroupVersion === 1 && host.swapController && { memorySwapLimitInBytes: memory }),
    oomScoreAdj: oomScoreAdj(pod, container, host.memoryCapacity),
    hugepageLimits: host.hugepageUnits.map((pageSize) => ({ pageSize, limit: wanted.get(pageSize) ?? 0 })),
    ...(Object.keys(unified).length > 0 && { unified }),
  };
}

/** What the whole pod may use, told to sandboxed runtimes; overhead apart. */
export function sandboxResources(pod: Pod, host: ResourceHost): LinuxContainerResources {
  const limits = podLimits(pod, { overhead: false });
  const memory = limits.get('memory') ?? 0;
  return {
    ...cpu(podRequests(pod, { overhead: false }), limits, host),
    ...(memory > 0 && { memoryLimitInBytes: memory }),
  };
}

export function overheadResources(amounts: Amounts, host: ResourceHost): LinuxContainerResources {
  const memory = amounts.get('memory') ?? 0;
  return { ...cpu(amounts, amounts, host), ...(memory > 0 && { memoryLimitInBytes: memory }) };
}

function cpu(requests: Amounts, limits: Amounts, host: ResourceHost): LinuxContainerResources {
  return {
    cpuShares: milliCpuToShares(requests.get('cpu') ?? 0),
    ...(host.cpuCfsQuota && { cpuQuota: milliCpuToQuota(limits.get('cpu') ?? 0), cpuPeriod: CPU_PERIOD_US }),
  };
}
