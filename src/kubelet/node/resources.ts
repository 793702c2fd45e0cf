import { formatCpu, formatKi } from '../../core/index.ts';
import type { Capacity } from '../../hardware/index.ts';

/** What is held back from pods: `kube-reserved` + `system-reserved` + hard eviction threshold. */
export interface Reserved {
  /** Millicores. */
  cpu: number;
  /** Bytes. */
  memory: number;
  /** Bytes, the eviction threshold of the node's file system included. */
  ephemeralStorage: number;
}

type ResourceList = Record<string, string>;

/** Names pages as resources are: 2097152 → `hugepages-2Mi`. */
function hugepageName(bytes: number): string {
  const units: [number, string][] = [
    [2 ** 30, 'Gi'],
    [2 ** 20, 'Mi'],
    [2 ** 10, 'Ki'],
  ];
  const [size, unit] = units.find(([unitSize]) => bytes % unitSize === 0) ?? [1, ''];
  return `hugepages-${bytes / size}${unit}`;
}

export function nodeCapacity(capacity: Capacity, maxPods: number): ResourceList {
  const list: ResourceList = {
    cpu: String(capacity.cpu),
    'ephemeral-storage': formatKi(capacity.ephemeralStorage),
    memory: formatKi(capacity.memory),
    pods: String(maxPods),
  };
  for (const [size, bytes] of capacity.hugepages) list[hugepageName(size)] = bytes === 0 ? '0' : formatKi(bytes);
  return list;
}

/** Capacity less what is reserved; memory also less the huge pages, which no ordinary allocation can use. */
export function nodeAllocatable(capacity: Capacity, maxPods: number, reserved: Reserved): ResourceList {
  const pages = [...capacity.hugepages.values()].reduce((sum, bytes) => sum + bytes, 0);
  return {
    ...nodeCapacity(capacity, maxPods),
    cpu: formatCpu(Math.max(0, capacity.cpu * 1000 - reserved.cpu)),
    memory: formatKi(Math.max(0, capacity.memory - reserved.memory - pages)),
    'ephemeral-storage': String(Math.max(0, Math.floor(capacity.ephemeralStorage - reserved.ephemeralStorage))),
  };
}
