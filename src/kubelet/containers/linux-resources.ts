import type { LinuxContainerResources } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { oomScoreAdj, qosClassOf } from './qos.ts';
import {
  type Amounts,
  CPU_PERIOD_US,
  effectiveLimits,
  hugepageLimits,
  limitsOf,
  milliCpuToQuota,
  milliCpuToShares,
  podLimits,
  podRequests,
  requestsOf,
} from './resources.ts';
import { type AnyContainer, isCriticalPod } from './spec.ts';

/** What of the host decides how resources are written. */
export interface ResourceHost {
  cgroupVersion: 1 | 2;
  /** Bytes of RAM. */
  memoryCapacity: number;
  cpuCfsQuota: boolean;
  /** Swap can be bounded: memory.swap.max or memory.memsw is there. */
  swapController: boolean;
  /** Bytes of swap that containers may share (KubeletConfiguration memorySwap LimitedSwap); 0: they get none. */
  swapBytes: number;
  /** The kernel kills one process of a container that is out of memory, not all (singleProcessOOMKill). */
  singleProcessOomKill: boolean;
  /** Page sizes the kernel's hugetlb controller knows: `2MB`. */
  hugepageUnits: readonly string[];
}

/** One container's resources (kubelet kuberuntime_container_linux.go). */
export function containerResources(pod: Pod, container: AnyContainer, host: ResourceHost): LinuxContainerResources {
  const limits = effectiveLimits(pod, container);
  const memory = limits.get('memory') ?? 0;
  const wanted = hugepageLimits(limits);
  const unified: Record<string, string> = {};
  if (host.cgroupVersion === 2) {
    // Else all processes of a container end together when one is killed for memory.
    if (!host.singleProcessOomKill) unified['memory.oom.group'] = '1';
    if (host.swapController) unified['memory.swap.max'] = String(swapOf(pod, container, host));
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

/** A burstable pod's container gets as large a share of the swap as it asks for of the memory; others get none. */
function swapOf(pod: Pod, container: AnyContainer, { swapBytes, memoryCapacity }: ResourceHost): number {
  if (swapBytes === 0 || isCriticalPod(pod) || qosClassOf(pod) !== 'Burstable') return 0;
  const request = requestsOf(container).get('memory') ?? 0;
  const limit = limitsOf(container).get('memory') ?? 0;
  if (request === limit || request > memoryCapacity) return 0;
  return Math.floor((request / memoryCapacity) * swapBytes);
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
