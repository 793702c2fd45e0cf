import type { RuntimeService } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { type CgroupReader, readCgroupMemory, readCgroupTasks } from '../cgroups/usage.ts';
import { CONTAINER_NAME, POD_UID } from '../containers/labels.ts';
import type { ContainerUse } from './message.ts';
import { type PodDisk, type PodDiskPlaces, podDisk } from './pod-disk.ts';

/** What pods use; measured only when somebody has to go, or has a limit that only we watch. */
export interface Measures {
  /** Bytes of the pod's working set; undefined if it has no cgroup. */
  memory(pod: Pod): Promise<number | undefined>;
  tasks(pod: Pod): Promise<number | undefined>;
  /** By uid; a pod that can't be measured is left out. */
  disk(pods: readonly Pod[], signal: AbortSignal): Promise<Map<string, PodDisk>>;
  /** Working sets of one pod's containers. */
  containers(pod: Pod, signal: AbortSignal): Promise<ContainerUse[]>;
}

export interface MeasureOptions extends PodDiskPlaces {
  runtime: Pick<RuntimeService, 'listContainerStats'>;
  cgroups: CgroupReader;
  /** Path of a pod's cgroup. */
  cgroupOf(pod: Pod): string;
}

export function createMeasures(options: MeasureOptions): Measures {
  const { runtime, cgroups, cgroupOf } = options;
  const statsOf = (pods: readonly Pod[], signal: AbortSignal) => {
    const [only] = pods;
    const filter = pods.length === 1 && only ? { labels: { [POD_UID]: only.metadata.uid as string } } : undefined;
    return runtime.listContainerStats(filter, { signal, timeoutMs: 30_000 });
  };
  return {
    memory: async (pod) => (await readCgroupMemory(cgroups, cgroupOf(pod)).catch(() => undefined))?.workingSet,
    tasks: (pod) => readCgroupTasks(cgroups, cgroupOf(pod)).catch(() => undefined),
    async disk(pods, signal) {
      const stats = await statsOf(pods, signal);
      const found = new Map<string, PodDisk>();
      for (const pod of pods)
        try {
          found.set(pod.metadata.uid as string, await podDisk(pod, stats, options, signal));
        } catch (error) {
          if (signal.aborted) throw error;
        }
      return found;
    },
    async containers(pod, signal) {
      const stats = await statsOf([pod], signal).catch(() => []);
      return stats.map(({ labels, memory }) => ({
        name: labels[CONTAINER_NAME] ?? '',
        bytes: memory?.workingSetBytes ?? 0,
      }));
    },
  };
}
