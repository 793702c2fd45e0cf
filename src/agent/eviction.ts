import type { KubeletSettings } from '../config/index.ts';
import type { Clock, Logger } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import {
  createMeasures,
  EvictionManager,
  hasImageFilesystem,
  type NodeEvent,
  nodePaths,
  observe,
  type PodManager,
  thresholdsOf,
} from '../kubelet/index.ts';
import { allocatableMemory } from './allocatable.ts';
import type { HostFacts } from './host-facts.ts';
import type { AgentPaths } from './paths.ts';

export interface EvictionInput {
  settings: KubeletSettings;
  paths: AgentPaths;
  facts: HostFacts;
  cri: Cri;
  /** The folder the runtime keeps its images in; rejects if that can't be found out. */
  imageRoot(): Promise<string>;
  event(event: NodeEvent): void;
  /** The node's pressures are others than before. */
  changed(): void;
  clock: Clock;
  log: Logger;
}

export interface NodeEviction {
  manager: EvictionManager;
  /** Lets it act on pods, once they are there. `freeImages` removes images that nobody uses. */
  attach(pods: PodManager, freeImages: (signal: AbortSignal) => Promise<unknown>): void;
}

/** Watches what the node runs short of, by the kubelet's eviction settings. */
export function nodeEviction(input: EvictionInput): NodeEviction {
  const { settings, paths, facts, cri, imageRoot, event, changed, clock, log } = input;
  const thresholds = thresholdsOf(settings);
  const signals = new Set(thresholds.map(({ signal }) => signal));
  const nodeDir = paths.kubeletDir;
  // With no such folder there is nothing to measure, and nothing else is kept from being measured.
  const imageDir = () => imageRoot().catch(() => '');
  // The runtime tells its driver when it is up; before that there are no pods whose cgroups matter.
  const lay = () =>
    nodePaths({ rootDir: nodeDir, version: facts.cgroupVersion, driver: cri.cgroupDriver() ?? 'cgroupfs' });
  const manager = new EvictionManager({
    thresholds,
    transitionMs: settings.evictionPressureTransitionPeriod,
    maxPodGraceSeconds: settings.evictionMaxPodGracePeriod,
    storageLimits: settings.localStorageCapacityIsolation,
    observe: async () => {
      const { cgroups, kubepods } = lay();
      return await observe({
        signals,
        nodeDir,
        imageDir: await imageDir(),
        cgroups,
        kubepods,
        allocatableMemory: allocatableMemory(input),
      });
    },
    hasImageFilesystem: async () => hasImageFilesystem(nodeDir, await imageDir()),
    event,
    changed,
    clock,
    log,
  });
  return {
    manager,
    attach(pods, freeImages) {
      const { cgroups, cgroupOf, layout } = lay();
      manager.attach({
        targets: { active: () => pods.active(), evict: (uid, eviction, signal) => pods.evict(uid, eviction, signal) },
        measures: createMeasures({ runtime: cri.runtime, cgroups, cgroupOf, layout, logDir: '/var/log/pods' }),
        reclaim: {
          containers: (signal) => pods.removeDeadContainers(signal),
          images: async (signal) => void (await freeImages(signal)),
        },
      });
    },
  };
}
