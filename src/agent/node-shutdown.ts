import type { KubeletSettings } from '../config/index.ts';
import type { Clock, Logger } from '../core/index.ts';
import { connectLogind, inhibitShutdown } from '../host/index.ts';
import { type NodeEvent, NodeShutdown, type PodManager, shutdownGroups } from '../kubelet/index.ts';

export interface NodeShutdownInput {
  settings: KubeletSettings;
  pods: PodManager;
  changed(): void;
  event(event: NodeEvent): void;
  clock: Clock;
  log: Logger;
}

/** Undefined unless somebody set shutdownGracePeriod or shutdownGracePeriodByPodPriority. */
export function nodeShutdown({ settings, ...rest }: NodeShutdownInput): NodeShutdown | undefined {
  const groups = shutdownGroups({
    gracePeriodMs: settings.shutdownGracePeriod,
    criticalPodsMs: settings.shutdownGracePeriodCriticalPods,
    byPriority: settings.shutdownGracePeriodByPodPriority,
  });
  if (groups.length === 0) return undefined;
  return new NodeShutdown({ groups, connect: () => connectLogind(), inhibit: () => inhibitShutdown(), ...rest });
}
