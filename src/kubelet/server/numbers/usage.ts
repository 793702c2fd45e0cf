import type { Clock } from '../../../core/index.ts';
import type { ContainerUsage } from '../../../cri/types.ts';
import { parseMeminfo } from '../../../hardware/index.ts';
import { readText } from '../../../host/index.ts';
import { CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID } from '../../containers/labels.ts';
import type { ServerRuntime } from '../pods.ts';

/** CPU in nanoseconds since the start, memory in bytes, times in milliseconds since the epoch. */
export interface Usage {
  cpuTime: number;
  cpuNanoseconds: number;
  memoryTime: number;
  workingSet: number;
  /** All memory charged, page cache included. */
  memory?: number;
  rss?: number;
}

export interface ContainerNumbers {
  id: string;
  container: string;
  startedAt: number;
  usage: Usage;
  writableLayer?: { time: number; bytes: number; inodes: number };
}

export interface PodNumbers {
  namespace: string;
  pod: string;
  uid: string;
  containers: ContainerNumbers[];
}

export interface NodeNumbers {
  usage: Usage;
  memoryAvailable: number;
  swapUsed: number;
  bootedAt: number;
}

/** What runs now and what it uses; asks the runtime once for its containers and once for their numbers. */
export async function podNumbers(
  runtime: Pick<ServerRuntime, 'listContainers' | 'listContainerStats'>,
): Promise<PodNumbers[]> {
  const [containers, stats] = await Promise.all([runtime.listContainers(), runtime.listContainerStats()]);
  const running = new Map(containers.filter((c) => c.state === 'CONTAINER_RUNNING').map((c) => [c.id, c]));
  const pods = new Map<string, PodNumbers>();
  for (const entry of stats) {
    const known = running.get(entry.id);
    const usage = usageOf(entry);
    if (known === undefined || usage === undefined) continue;
    const labels = known.labels;
    const uid = labels[POD_UID] ?? '';
    const pod = pods.get(uid) ?? {
      uid,
      namespace: labels[POD_NAMESPACE] ?? '',
      pod: labels[POD_NAME] ?? '',
      containers: [],
    };
    pods.set(uid, pod);
    const layer = entry.writableLayer;
    pod.containers.push({
      id: entry.id,
      container: labels[CONTAINER_NAME] ?? known.metadata.name,
      startedAt: known.createdAt / 1e6,
      usage,
      ...(layer
        ? { writableLayer: { time: layer.timestamp / 1e6, bytes: layer.usedBytes ?? 0, inodes: layer.inodesUsed ?? 0 } }
        : {}),
    });
  }
  const name = (p: PodNumbers) => `${p.namespace}/${p.pod}`;
  return [...pods.values()].sort((a, b) => (name(a) < name(b) ? -1 : 1));
}

function usageOf({ cpu, memory }: ContainerUsage): Usage | undefined {
  if (cpu?.usageCoreNanoSeconds === undefined || memory?.workingSetBytes === undefined) return undefined;
  return {
    cpuTime: cpu.timestamp / 1e6,
    cpuNanoseconds: cpu.usageCoreNanoSeconds,
    memoryTime: memory.timestamp / 1e6,
    workingSet: memory.workingSetBytes,
    ...(memory.usageBytes ? { memory: memory.usageBytes } : {}),
    ...(memory.rssBytes ? { rss: memory.rssBytes } : {}),
  };
}

/** Kernel ticks a second in /proc/stat; 100 on every Linux. */
const TICKS = 100;

/**
 * The whole host from /proc: CPU is all but idle and waiting; the working set is what is used without the file pages
 * the kernel would give up first (as cAdvisor counts the root cgroup).
 */
export async function nodeNumbers(clock: Pick<Clock, 'now'>): Promise<NodeNumbers> {
  const [stat = '', memory = ''] = await Promise.all([readText('/proc/stat'), readText('/proc/meminfo')]);
  const ticks = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
  const meminfo = parseMeminfo(memory);
  const used = meminfo('MemTotal') - meminfo('MemFree');
  const time = clock.now();
  return {
    usage: {
      cpuTime: time,
      cpuNanoseconds: ((user + nice + system + irq + softirq + steal) * 1e9) / TICKS,
      memoryTime: time,
      memory: used,
      workingSet: Math.max(0, used - meminfo('Inactive(file)')),
      rss: meminfo('AnonPages'),
    },
    memoryAvailable: meminfo('MemAvailable'),
    swapUsed: meminfo('SwapTotal') - meminfo('SwapFree'),
    bootedAt: Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? 0) * 1000,
  };
}

/** Several containers as one. */
export function sum(usages: readonly Usage[]): Usage {
  const add = (pick: (u: Usage) => number) => usages.reduce((total, u) => total + pick(u), 0);
  return {
    cpuTime: Math.max(...usages.map((u) => u.cpuTime)),
    cpuNanoseconds: add((u) => u.cpuNanoseconds),
    memoryTime: Math.max(...usages.map((u) => u.memoryTime)),
    workingSet: add((u) => u.workingSet),
    memory: add((u) => u.memory ?? 0),
    rss: add((u) => u.rss ?? 0),
  };
}
