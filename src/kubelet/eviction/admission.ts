import type { Pod } from '../../kube/index.ts';
import { tolerates } from '../admission/taints.ts';
import { qosClassOf } from '../containers/qos.ts';
import { isCriticalPod } from '../containers/spec.ts';
import type { Pressure } from './signals.ts';

/**
 * Upstream's text for a pod that may not start on a node under pressure (eviction_manager.go, Admit); undefined if it
 * may. Memory pressure keeps out what would be the first to go; other pressures keep out all but critical pods.
 */
export function refusedUnderPressure(pod: Pod, pressures: readonly Pressure[]): string | undefined {
  if (pressures.length === 0 || isCriticalPod(pod)) return undefined;
  if (pressures.length === 1 && pressures[0] === 'MemoryPressure') {
    if (qosClassOf(pod) !== 'BestEffort') return undefined;
    const taint = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' };
    if ((pod.spec.tolerations ?? []).some((toleration) => tolerates(toleration, taint))) return undefined;
  }
  return `The node had condition: [${pressures.join(' ')}]. `;
}
