import type { Pod } from '../../kube/index.ts';
import { qosClassOf } from '../containers/qos.ts';
import {
  CPU_PERIOD_US,
  hugepageLimits,
  isBounded,
  milliCpuToQuota,
  milliCpuToShares,
  podLimits,
  podRequests,
} from '../containers/resources.ts';

/** What a cgroup is bound to; what is left out is left as the kernel has it. */
export interface CgroupResources {
  cpuShares?: number;
  /** Microseconds in each 100 ms. */
  cpuQuota?: number;
  /** Bytes. */
  memory?: number;
  pids?: number;
  /** Bytes by the kernel's page size name (`2MB`). */
  hugepages?: ReadonlyMap<string, number>;
}

/** One write. `required`: its failure fails the pod; else the controller may be missing. */
export interface CgroupSetting {
  controller: 'cpu' | 'memory' | 'pids' | 'hugetlb';
  file: string;
  value: string;
}

/** A pod's cgroup (kubelet pkg/kubelet/cm/helpers_linux.go ResourceConfigForPod). */
export function podCgroupResources(
  pod: Pod,
  options: { cpuCfsQuota: boolean; pidsLimit?: number | undefined },
): CgroupResources {
  const limits = podLimits(pod);
  const cpu = limits.get('cpu') ?? 0;
  const memory = limits.get('memory') ?? 0;
  const pages = hugepageLimits(limits);
  const common = {
    ...(options.pidsLimit !== undefined && options.pidsLimit > 0 && { pids: options.pidsLimit }),
    ...(pages.size > 0 && { hugepages: pages }),
  };
  if (qosClassOf(pod) === 'BestEffort') return { cpuShares: 2, ...common };
  return {
    cpuShares: milliCpuToShares(podRequests(pod).get('cpu') ?? 0),
    ...(options.cpuCfsQuota && cpu > 0 && isBounded(pod, 'cpu') && { cpuQuota: milliCpuToQuota(cpu) }),
    ...(memory > 0 && isBounded(pod, 'memory') && { memory }),
    ...common,
  };
}

/** cgroup v1 shares (2 to 262144) as a v2 weight (1 to 10000). */
export function sharesToWeight(shares: number): number {
  return Math.floor(((shares - 2) * 9999) / 262_142) + 1;
}

export function settingsFor(resources: CgroupResources, version: 1 | 2): CgroupSetting[] {
  const { cpuShares, cpuQuota, memory, pids, hugepages } = resources;
  const out: CgroupSetting[] = [];
  const set = (controller: CgroupSetting['controller'], file: string, value: string | number) =>
    out.push({ controller, file, value: String(value) });
  const two = version === 2;
  if (cpuShares !== undefined)
    two ? set('cpu', 'cpu.weight', sharesToWeight(cpuShares)) : set('cpu', 'cpu.shares', cpuShares);
  if (cpuQuota !== undefined) {
    if (two) set('cpu', 'cpu.max', `${cpuQuota} ${CPU_PERIOD_US}`);
    else {
      set('cpu', 'cpu.cfs_period_us', CPU_PERIOD_US);
      set('cpu', 'cpu.cfs_quota_us', cpuQuota);
    }
  }
  if (memory !== undefined) set('memory', two ? 'memory.max' : 'memory.limit_in_bytes', memory);
  if (pids !== undefined) set('pids', 'pids.max', pids);
  for (const [size, bytes] of hugepages ?? [])
    set('hugetlb', two ? `hugetlb.${size}.max` : `hugetlb.${size}.limit_in_bytes`, bytes);
  return out;
}

/** The same as properties of a systemd unit: name, D-Bus signature, value. */
export function unitProperties(resources: CgroupResources, version: 1 | 2): [string, string, string][] {
  const { cpuShares, cpuQuota, memory, pids } = resources;
  const out: [string, string, string][] = [];
  if (cpuShares !== undefined)
    out.push(
      version === 2 ? ['CPUWeight', 't', String(sharesToWeight(cpuShares))] : ['CPUShares', 't', String(cpuShares)],
    );
  if (cpuQuota !== undefined) {
    // systemd counts in whole percents, so a part of one is rounded up to not take any away (libcontainer does so, too).
    const perSecond = Math.ceil((cpuQuota * (1_000_000 / CPU_PERIOD_US)) / 10_000) * 10_000;
    out.push(['CPUQuotaPerSecUSec', 't', String(perSecond)]);
  }
  if (memory !== undefined) out.push([version === 2 ? 'MemoryMax' : 'MemoryLimit', 't', String(memory)]);
  if (pids !== undefined) out.push(['TasksMax', 't', String(pids)]);
  return out;
}
