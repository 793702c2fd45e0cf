import { AgentError } from '../../../core/index.ts';
import type { ActionContext } from '../actions.ts';

/** The pod's folder, cgroup and volumes; each volume that can't be had is an event. */
export async function prepareVolumes(context: ActionContext): Promise<void> {
  const { deps, memory, signal } = context;
  const { materials, limits } = deps;
  await limits.volumes.run(
    0,
    async () => {
      await preparePod(context);
      memory.volumesOutdated = false;
      const result = await materials.mountVolumes(context.pod(), signal);
      if (result.ready) {
        memory.volumes = { state: 'ready', volumes: result.volumes };
        return;
      }
      if (memory.volumes.state === 'ready') memory.volumesOutdated = true;
      else memory.volumes = { state: 'failed' };
      for (const failure of result.failures.slice(0, 10))
        context.reports.pod('Warning', 'FailedMount', failure.message);
      const message = result.failures.map((f) => f.message).join('; ');
      throw new AgentError({ code: 'VOLUMES_NOT_READY', message });
    },
    signal,
  );
}

/** Folder and cgroup: wanted by volumes and sandbox, whichever comes first. */
export async function preparePod(context: ActionContext): Promise<void> {
  try {
    await context.deps.materials.preparePod(context.pod(), context.signal);
  } catch (error) {
    if (error instanceof AgentError) context.reports.pod('Warning', 'FailedCreatePodContainer', error.message);
    throw error;
  }
}

export async function tearDown({ deps, memory, pod, signal }: ActionContext): Promise<void> {
  await deps.limits.volumes.run(0, () => deps.materials.release(pod().metadata.uid as string, signal), signal);
  memory.volumes = { state: 'absent' };
  memory.tornDown = true;
}
