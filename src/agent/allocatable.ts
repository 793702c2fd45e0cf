import type { KubeletSettings } from '../config/index.ts';
import { readTaskLimit } from '../kubelet/index.ts';
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

/** How many tasks pods may have together; undefined while nothing is kept back for others. */
export async function allocatableTasks({ settings }: Pick<Input, 'settings'>): Promise<number | undefined> {
  const kept = settings.kubeReserved.pid + settings.systemReserved.pid;
  if (kept === 0 || !isEnforced(settings)) return undefined;
  const all = await readTaskLimit();
  return Number.isFinite(all) ? Math.max(1, all - kept) : undefined;
}

function isEnforced({ enforceNodeAllocatable }: KubeletSettings): boolean {
  return enforceNodeAllocatable.includes('pods');
}
