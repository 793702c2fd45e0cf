import type { ContainerStatus, Pod } from 'kubernetes-types/core/v1.d.ts';
import { as, type Obj } from '../objects.ts';
import { age, columns, duration, orNone } from './format.ts';
import type { Table } from './index.ts';

export const podTable: Table = {
  columns: columns('Name', 'Ready', 'Status', 'Restarts', 'Age', 'IP+', 'Node+', 'Nominated Node+', 'Readiness Gates+'),
  row(object: Obj) {
    const pod = as<Pod>(object);
    const { status, restarts, ready, total } = podState(pod);
    const finished = { Succeeded: 'The pod has completed successfully.', Failed: 'The pod failed.' } as const;
    const phase = pod.status?.phase as keyof typeof finished | undefined;
    const gates = pod.spec?.readinessGates ?? [];
    const passed = gates.filter((gate) =>
      pod.status?.conditions?.some((c) => c.type === gate.conditionType && c.status === 'True'),
    );
    const conditions =
      phase && finished[phase]
        ? [{ type: 'Completed', status: 'True', reason: phase, message: finished[phase] }]
        : undefined;
    return {
      ...(conditions ? { conditions } : {}),
      cells: [
        pod.metadata?.name,
        `${ready}/${total}`,
        status,
        restarts,
        age(pod.metadata?.creationTimestamp),
        orNone(pod.status?.podIPs?.[0]?.ip ?? pod.status?.podIP),
        orNone(pod.spec?.nodeName),
        orNone(pod.status?.nominatedNodeName),
        gates.length > 0 ? `${passed.length}/${gates.length}` : '<none>',
      ],
    };
  },
};

interface PodState {
  status: string;
  restarts: string;
  ready: number;
  total: number;
}

/** The words of the STATUS column (kubernetes pkg/printers/internalversion printPod). */
function podState(pod: Pod): PodState {
  const sidecars = new Set(
    (pod.spec?.initContainers ?? [])
      .filter((c) => (c as { restartPolicy?: string }).restartPolicy === 'Always')
      .map((c) => c.name),
  );
  let status = pod.status?.reason || pod.status?.phase || 'Unknown';
  let total = (pod.spec?.containers ?? []).length + sidecars.size;
  let ready = 0;
  let restarts = 0;
  let lastRestart = 0;
  const count = (container: ContainerStatus) => {
    restarts += container.restartCount;
    const at = Date.parse(container.lastState?.terminated?.finishedAt ?? '');
    if (at > lastRestart) lastRestart = at;
  };
  if (pod.status?.conditions?.some((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated'))
    status = 'SchedulingGated';
  let initializing = false;
  const initStatuses = pod.status?.initContainerStatuses ?? [];
  for (const [i, container] of initStatuses.entries()) {
    count(container);
    const { terminated, waiting } = container.state ?? {};
    if (sidecars.has(container.name) && (container as { started?: boolean }).started) {
      if (container.ready) ready++;
      continue;
    }
    if (terminated?.exitCode === 0) continue;
    initializing = true;
    if (terminated)
      status = terminated.reason
        ? `Init:${terminated.reason}`
        : terminated.signal
          ? `Init:Signal:${terminated.signal}`
          : `Init:ExitCode:${terminated.exitCode}`;
    else if (waiting?.reason && waiting.reason !== 'PodInitializing') status = `Init:${waiting.reason}`;
    else status = `Init:${i}/${(pod.spec?.initContainers ?? []).length}`;
    break;
  }
  const initialized = pod.status?.conditions?.some((c) => c.type === 'Initialized' && c.status === 'True');
  if (!initializing || initialized) {
    let running = false;
    if (sidecars.size === 0) {
      restarts = 0;
      lastRestart = 0;
    }
    for (const container of [...(pod.status?.containerStatuses ?? [])].reverse()) {
      count(container);
      const { terminated, waiting } = container.state ?? {};
      if (waiting?.reason) status = waiting.reason;
      else if (terminated?.reason) status = terminated.reason;
      else if (terminated)
        status = terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`;
      else if (container.ready && container.state?.running) {
        running = true;
        ready++;
      }
    }
    if (status === 'Completed' && running)
      status = pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ? 'Running' : 'NotReady';
  }
  const { deletionTimestamp } = pod.metadata ?? {};
  if (deletionTimestamp && pod.status?.reason === 'NodeLost') status = 'Unknown';
  else if (deletionTimestamp && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed')
    status = 'Terminating';
  if (total === 0) total = 0;
  const restartText =
    restarts > 0 && lastRestart > 0 ? `${restarts} (${duration(Date.now() - lastRestart)} ago)` : `${restarts}`;
  return { status, restarts: restartText, ready, total };
}
