import { join } from 'node:path';
import type { KubeletSettings } from '../config/index.ts';
import { type Clock, errorCode, type Logger } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import { readFilesystem } from '../hardware/index.ts';
import { ImageCollector, LogRotator, type NodeEvent, type PodManager, whatFills } from '../kubelet/index.ts';
import type { AgentPaths } from './paths.ts';
import type { Stack } from './stack.ts';

export interface UpkeepInput {
  settings: KubeletSettings;
  paths: AgentPaths;
  cri: Cri;
  /** The folder the runtime keeps its images in; rejects if that can't be found out. */
  imageRoot(): Promise<string>;
  pauseImage: string;
  pods: PodManager;
  nodeEvent(event: NodeEvent): void;
  stack: Stack;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

export interface Upkeep {
  images: ImageCollector;
}

/** What keeps a board that runs for years from filling its disk: unused images go, container logs are rotated. */
export async function startUpkeep(input: UpkeepInput): Promise<Upkeep> {
  const { settings, paths, cri, imageRoot, pods, stack, clock, log, signal } = input;
  const images = new ImageCollector({
    policy: {
      highPercent: settings.imageGCHighThresholdPercent,
      lowPercent: settings.imageGCLowThresholdPercent,
      minAgeMs: settings.imageMinimumGCAge,
      maxAgeMs: settings.imageMaximumGCAge,
    },
    images: cri.images,
    runtime: cri.runtime,
    events: cri.events,
    filesystem: async () => readFilesystem(await imageRoot()),
    wanted: () => [input.pauseImage, ...pods.wantedImages()],
    pinned: async (inner) => {
      try {
        return await cri.pinnedImages(inner);
      } catch (error) {
        if (errorCode(error) === 'CRI_UNIMPLEMENTED') return []; // no containerd: CRI itself tells
        throw error;
      }
    },
    event: input.nodeEvent,
    whatFills: async (all, used) => {
      const path = await imageRoot();
      const disk = await readFilesystem(path);
      if (disk === undefined) return '';
      const folders = { 'container logs': '/var/log/pods', 'volumes of pods': join(paths.kubeletDir, 'pods') };
      return await whatFills({ images: all, used, disk, service: cri.images, folders, root: path });
    },
    clock,
    log: log.child({ part: 'images' }),
  });
  const logs = new LogRotator({
    policy: {
      maxSize: settings.containerLogMaxSize,
      maxFiles: settings.containerLogMaxFiles,
      maxWorkers: settings.containerLogMaxWorkers,
      monitorIntervalMs: settings.containerLogMonitorInterval,
    },
    runtime: cri.runtime,
    running: () => pods.runningLogs(),
    clock,
    log: log.child({ part: 'logs' }),
  });
  await stack.start('image collection', images, signal);
  await stack.start('log rotation', logs, signal);
  return { images };
}
