import type { KubeletSettings } from '../config/index.ts';
import type { HostFacts } from './host-facts.ts';

interface Input {
  settings: KubeletSettings;
  facts: HostFacts;
}

/** What pods may use together, in bytes: all of it where nobody holds them to less (enforceNodeAllocatable). */
export function allocatableMemory({ settings, facts: { capacity } }: Input): number {
  const { kubeReserved, systemReserved } = settings;
  const kept = isEnforced(settings) ? kubeReserved.memory + systemReserved.memory : 0;
  return Math.max(0, capacity.memory - kept);
}

/** The same for processors, in millicores. */
export function allocatableCpu({ settings, facts: { capacity } }: Input): number {
  const { kubeReserved, systemReserved } = settings;
  const kept = isEnforced(settings) ? kubeReserved.cpu + systemReserved.cpu : 0;
  return Math.max(0, capacity.cpu * 1000 - kept);
}

function isEnforced({ enforceNodeAllocatable }: KubeletSettings): boolean {
  return enforceNodeAllocatable.includes('pods');
}
