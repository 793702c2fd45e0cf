import { rfc3339 } from '../../core/index.ts';
import type { NodeCondition } from '../../kube/index.ts';

/** What the node is short of. */
export interface Pressures {
  memoryPressure: boolean;
  diskPressure: boolean;
  pidPressure: boolean;
}

/** Everything the four node conditions are made of. */
export interface Health extends Pressures {
  /** Empty when the node is ready; else what is missing, in upstream's words. */
  notReady: readonly string[];
}

interface Verdict {
  type: string;
  status: 'True' | 'False';
  reason: string;
  message: string;
}

/** Reasons and messages are the kubelet's (pkg/kubelet/nodestatus/setters.go). */
function verdicts(health: Health): Verdict[] {
  return [
    health.memoryPressure
      ? {
          type: 'MemoryPressure',
          status: 'True',
          reason: 'KubeletHasInsufficientMemory',
          message: 'kubelet has insufficient memory available',
        }
      : {
          type: 'MemoryPressure',
          status: 'False',
          reason: 'KubeletHasSufficientMemory',
          message: 'kubelet has sufficient memory available',
        },
    health.diskPressure
      ? { type: 'DiskPressure', status: 'True', reason: 'KubeletHasDiskPressure', message: 'kubelet has disk pressure' }
      : {
          type: 'DiskPressure',
          status: 'False',
          reason: 'KubeletHasNoDiskPressure',
          message: 'kubelet has no disk pressure',
        },
    health.pidPressure
      ? {
          type: 'PIDPressure',
          status: 'True',
          reason: 'KubeletHasInsufficientPID',
          message: 'kubelet has insufficient PID available',
        }
      : {
          type: 'PIDPressure',
          status: 'False',
          reason: 'KubeletHasSufficientPID',
          message: 'kubelet has sufficient PID available',
        },
    health.notReady.length > 0
      ? { type: 'Ready', status: 'False', reason: 'KubeletNotReady', message: condense(health.notReady) }
      : { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' },
  ];
}

function condense(missing: readonly string[]): string {
  return missing.length === 1 ? (missing[0] as string) : `[${missing.join(', ')}]`;
}

/**
 * The node's conditions now. `lastTransitionTime` is kept from `previous` while a status stays the same; the heartbeat
 * is always `nowMs`. Conditions of other owners (node-problem-detector, the cloud controller) are not among them.
 */
export function nodeConditions(health: Health, previous: readonly NodeCondition[], nowMs: number): NodeCondition[] {
  const now = rfc3339(nowMs);
  return verdicts(health).map((verdict) => {
    const old = previous.find((condition) => condition.type === verdict.type);
    const kept = old?.status === verdict.status ? old.lastTransitionTime : undefined;
    return { ...verdict, lastHeartbeatTime: now, lastTransitionTime: kept ?? now };
  });
}

/** True if the two say the same, heartbeats aside. */
export function sameCondition(a: NodeCondition | undefined, b: NodeCondition): boolean {
  return a?.status === b.status && a.reason === b.reason && a.message === b.message;
}
