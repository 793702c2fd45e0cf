import { AgentError, describeError, isAbort } from '../../../core/index.ts';
import { effectiveLimits } from '../../containers/resources.ts';
import type { ActionContext } from '../actions.ts';
import { type Growing, growing } from '../resize/actuate.ts';
import { resizeMessage } from '../resize/messages.ts';
import { sizeOf } from '../resize/size.ts';

/**
 * Gives running containers what they are allowed now. The pod's own cgroup first, since none may have more than it; once
 * more at the end, since it can't be made smaller than what is in it.
 */
export async function resizeContainers(context: ActionContext): Promise<void> {
  const { deps, memory, reports, signal } = context;
  const pod = context.pod();
  const targets = growing(pod, deps.view.get(pod.metadata.uid as string), memory).filter((g) => !g.restarts);
  try {
    await assertFits(targets, context);
    await deps.materials.preparePod(pod, signal).catch((error: unknown) => {
      if (isAbort(error)) throw error;
    });
    for (const { spec, observed } of targets) {
      await deps.runtime.updateContainerResources(observed.id, deps.materials.containerResources(pod, spec), {
        signal,
      });
      memory.actuated.set(observed.id, { size: sizeOf(pod, spec), resources: spec.resources });
    }
    await deps.materials.preparePod(pod, signal);
    memory.resize.error = undefined;
  } catch (error) {
    if (isAbort(error)) throw error;
    const message = describeError(error);
    if (memory.resize.error !== message) {
      const generation = memory.resize.generation ?? pod.metadata.generation ?? 0;
      reports.pod('Warning', 'ResizeError', resizeMessage('Pod resize error', pod, generation, message));
    }
    memory.resize.error = message;
    throw error;
  }
}

/** A bound below what is in use would have the kernel kill for it. */
async function assertFits(targets: readonly Growing[], { deps, memory, pod, signal }: ActionContext): Promise<void> {
  const faults: string[] = [];
  for (const { spec, observed } of targets) {
    const limit = effectiveLimits(pod(), spec).get('memory') ?? 0;
    const before = Number(memory.actuated.get(observed.id)?.size?.memory.split('/')[1] ?? 0);
    if (limit === 0 || (before !== 0 && limit >= before)) continue;
    const [stats] = await deps.runtime.listContainerStats({ id: observed.id }, { signal });
    const used = stats?.memory?.usageBytes ?? stats?.memory?.workingSetBytes;
    if (used === undefined) faults.push(`missing container "${spec.name}" memory usage`);
    else if (used >= limit)
      faults.push(`attempting to set container "${spec.name}" memory limit (${limit}) below current usage (${used})`);
  }
  if (faults.length === 0) return;
  const list = faults.length === 1 ? faults[0] : `[${faults.join(', ')}]`;
  throw new AgentError({ code: 'RESIZE_TOO_SMALL', message: `cannot decrease memory limits: ${list}` });
}
