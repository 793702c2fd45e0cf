import { rfc3339 } from '../../../core/index.ts';
import type { FilesystemUse } from '../../../hardware/index.ts';
import type { Rates } from './rates.ts';
import { type NodeNumbers, type PodNumbers, sum, type Usage } from './usage.ts';

export interface SummaryInput {
  nodeName: string;
  node: NodeNumbers;
  pods: readonly PodNumbers[];
  rates: Rates;
  /** The file system of the kubelet's folders. */
  filesystem: FilesystemUse | undefined;
  now: number;
}

/**
 * The page /stats/summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1): processor, memory and disk of node and containers.
 * metrics-server before 0.6, which servers up to 1.21 bring along, reads `kubectl top` from it. Network, volumes,
 * pressure and system containers are left out: the format allows it.
 */
export function summary({ nodeName, node, pods, rates, filesystem, now }: SummaryInput): object {
  const part = (key: string, usage: Usage) => ({
    cpu: {
      time: rfc3339(usage.cpuTime),
      ...optional('usageNanoCores', rates.of(key, usage)),
      usageCoreNanoSeconds: Math.round(usage.cpuNanoseconds),
    },
    memory: {
      time: rfc3339(usage.memoryTime),
      ...optional('usageBytes', usage.memory),
      workingSetBytes: usage.workingSet,
      ...optional('rssBytes', usage.rss),
    },
  });
  const own = part('node', node.usage);
  const result = {
    node: {
      nodeName,
      startTime: rfc3339(node.bootedAt),
      cpu: own.cpu,
      memory: { ...own.memory, availableBytes: node.memoryAvailable },
      ...(filesystem === undefined
        ? {}
        : {
            fs: {
              time: rfc3339(now),
              availableBytes: filesystem.available,
              capacityBytes: filesystem.total,
              usedBytes: filesystem.total - filesystem.available,
              inodesFree: filesystem.inodesFree,
              inodes: filesystem.inodes,
              inodesUsed: filesystem.inodes - filesystem.inodesFree,
            },
          }),
      swap: { time: rfc3339(node.usage.memoryTime), swapUsageBytes: node.swapUsed },
    },
    pods: pods.map(({ namespace, pod, uid, containers }) => ({
      podRef: { name: pod, namespace, uid },
      startTime: rfc3339(Math.min(...containers.map((c) => c.startedAt))),
      containers: containers.map(({ id, container, startedAt, usage, writableLayer }) => ({
        name: container,
        startTime: rfc3339(startedAt),
        ...part(id, usage),
        ...(writableLayer
          ? {
              rootfs: {
                time: rfc3339(writableLayer.time),
                usedBytes: writableLayer.bytes,
                inodesUsed: writableLayer.inodes,
              },
            }
          : {}),
      })),
      ...part(`pod ${uid}`, sum(containers.map((c) => c.usage))),
    })),
  };
  rates.sweep();
  return result;
}

function optional(name: string, value: number | undefined): Record<string, number> {
  return value === undefined ? {} : { [name]: value };
}
