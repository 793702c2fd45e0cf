import type { OtherKey } from '../key.ts';
import { anything, bool, duration, float, int64, text, textMap } from '../kinds.ts';

const NUMA = 'processors, memory and devices are not pinned; the boards have one NUMA node';

/** cgroups, and what is pinned. */
export const CGROUP_KEYS: readonly OtherKey[] = [
  {
    flag: 'cgroup-driver',
    field: 'cgroupDriver',
    kind: text,
    state: 'needless',
    why: 'it follows containerd, which the agent configures by what the board has',
  },
  {
    flag: 'cgroups-per-qos',
    field: 'cgroupsPerQOS',
    kind: bool,
    state: 'ignored',
    why: 'pods always have cgroups by their quality of service',
    harmless: [true],
  },
  {
    flag: 'cgroup-root',
    field: 'cgroupRoot',
    kind: text,
    state: 'ignored',
    why: 'pods lie in /kubepods, where tools look for them',
    harmless: ['', '/'],
  },
  { flag: 'qos-reserved', field: 'qosReserved', kind: textMap, state: 'ignored', why: 'it never left alpha' },
  {
    field: 'memoryThrottlingFactor',
    kind: float,
    state: 'ignored',
    why: 'MemoryQoS is an alpha feature',
    harmless: [0.9],
  },
  {
    field: 'memoryReservationPolicy',
    kind: text,
    state: 'ignored',
    why: 'MemoryQoS is an alpha feature',
    harmless: ['', 'None'],
  },
  {
    flag: 'kernel-memcg-notification',
    field: 'kernelMemcgNotification',
    kind: bool,
    state: 'needless',
    why: 'memory pressure is an event of the kernel anyway',
  },
  {
    flag: 'protect-kernel-defaults',
    field: 'protectKernelDefaults',
    kind: bool,
    state: 'ignored',
    why: 'give --protect-kernel-defaults to the agent',
    harmless: [false],
  },
  {
    flag: 'cpu-manager-policy',
    field: 'cpuManagerPolicy',
    kind: text,
    state: 'ignored',
    why: NUMA,
    harmless: ['', 'none'],
  },
  { flag: 'cpu-manager-policy-options', field: 'cpuManagerPolicyOptions', kind: textMap, state: 'ignored', why: NUMA },
  {
    flag: 'cpu-manager-reconcile-period',
    field: 'cpuManagerReconcilePeriod',
    kind: duration(),
    state: 'needless',
    why: NUMA,
  },
  {
    flag: 'memory-manager-policy',
    field: 'memoryManagerPolicy',
    kind: text,
    state: 'ignored',
    why: NUMA,
    harmless: ['', 'None', 'none'],
  },
  {
    flag: 'topology-manager-policy',
    field: 'topologyManagerPolicy',
    kind: text,
    state: 'ignored',
    why: NUMA,
    harmless: ['', 'none', 'best-effort'],
  },
  { flag: 'topology-manager-scope', field: 'topologyManagerScope', kind: text, state: 'needless', why: NUMA },
  {
    flag: 'topology-manager-policy-options',
    field: 'topologyManagerPolicyOptions',
    kind: textMap,
    state: 'ignored',
    why: NUMA,
  },
  { flag: 'reserved-memory', field: 'reservedMemory', kind: anything, state: 'ignored', why: NUMA },
  {
    field: 'userNamespaces.idsPerPod',
    kind: int64({ min: 65536 }),
    state: 'ignored',
    why: 'a pod with its own users gets 65536 ids',
    harmless: [65536],
  },
];
