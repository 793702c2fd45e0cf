import type { NodeCondition } from '../../kube/index.ts';
import { parseVersion } from './version.ts';

/** An event about the own Node. */
export interface NodeEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/** By condition type and its status: the reason of the event (pkg/kubelet/nodestatus/setters.go). */
const REASONS: Readonly<Record<string, { True: string; False: string }>> = {
  MemoryPressure: { True: 'NodeHasInsufficientMemory', False: 'NodeHasSufficientMemory' },
  DiskPressure: { True: 'NodeHasDiskPressure', False: 'NodeHasNoDiskPressure' },
  PIDPressure: { True: 'NodeHasInsufficientPID', False: 'NodeHasSufficientPID' },
  Ready: { True: 'NodeReady', False: 'NodeNotReady' },
};

/**
 * An event for each condition that turned; of a new node (`before` empty) the pressures are told too, and Ready once it
 * is. An agent that starts anew with everything as it was says nothing.
 */
export function conditionEvents(
  node: string,
  before: readonly NodeCondition[],
  after: readonly NodeCondition[],
): NodeEvent[] {
  const events: NodeEvent[] = [];
  for (const { type, status } of after) {
    const reasons = REASONS[type];
    const old = before.find((condition) => condition.type === type)?.status;
    if (reasons === undefined || old === status || (status !== 'True' && status !== 'False')) continue;
    if (type === 'Ready' && old === undefined && status === 'False') continue;
    const reason = reasons[status];
    events.push({ type: 'Normal', reason, message: `Node ${node} status is now: ${reason}` });
  }
  return events;
}

/** The kubelet's words for a host with cgroup v1, from the version on that says so (pkg/kubelet/cm). */
export function cgroupEvents(cgroupVersion: 1 | 2, kubeletVersion: string): NodeEvent[] {
  const minor = parseVersion(kubeletVersion)?.[1] ?? 0;
  if (cgroupVersion === 2 || minor < 31) return [];
  const message =
    minor < 35
      ? 'Cgroup v1 support is in maintenance mode, please migrate to Cgroup v2.'
      : 'cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. Please migrate to cgroup v2. More information at https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1';
  return [{ type: 'Warning', reason: 'CgroupV1', message }];
}

/** Pods are held to what the node offers them, or why not. */
export function enforcementEvent(fault: string | undefined): NodeEvent {
  return fault === undefined
    ? { type: 'Normal', reason: 'NodeAllocatableEnforced', message: 'Updated Node Allocatable limit across pods' }
    : {
        type: 'Warning',
        reason: 'FailedNodeAllocatableEnforcement',
        message: `Failed to update Node Allocatable Limits ["kubepods"]: ${fault}`,
      };
}

/** What the start of an agent is worth telling; `knownBootId` is what the Node said of the last boot, if it existed. */
export function startEvents(node: string, knownBootId: string | undefined, bootId: string): NodeEvent[] {
  const events: NodeEvent[] = [{ type: 'Normal', reason: 'Starting', message: 'Starting kubelet.' }];
  if (knownBootId && bootId && knownBootId !== bootId)
    events.push({
      type: 'Warning',
      reason: 'Rebooted',
      message: `Node ${node} has been rebooted, boot id: ${bootId}`,
    });
  return events;
}
