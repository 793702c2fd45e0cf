import { AgentError } from '../../../core/index.ts';
import type { VolumeFailure } from '../../materials.ts';
import { usedVolumes } from '../../volumes/index.ts';
import type { ActionContext } from '../actions.ts';

/** What takes longer waits for somebody else (a server, a driver, another board): others may begin meanwhile. */
const SLOT_MS = 3_000;
/** volume_manager.go podAttachAndMountTimeout. */
const PATIENCE_MS = 123_000;

/** Runs work in one of the slots for volumes, but does not hold the slot while the work is slow. */
function inSlot(work: () => Promise<void>, { deps, signal }: ActionContext): Promise<void> {
  return deps.limits.volumes.runBriefly(0, work, { ms: SLOT_MS, clock: deps.clock }, signal);
}

/** The pod's folder, cgroup and volumes; each volume that can't be had is an event. */
export async function prepareVolumes(context: ActionContext): Promise<void> {
  const { deps, memory, signal } = context;
  await inSlot(async () => {
    await preparePod(context);
    memory.volumesOutdated = false;
    const result = await deps.materials.mountVolumes(context.pod(), signal);
    if (result.ready) {
      memory.volumes = { state: 'ready', volumes: result.volumes };
      return;
    }
    if (memory.volumes.state === 'ready') memory.volumesOutdated = true;
    else memory.volumes = { state: 'failed', since: waitingSince(result.failures, context) };
    for (const failure of result.failures.slice(0, 10))
      context.reports.pod('Warning', failure.reason ?? 'FailedMount', failure.message);
    const message = result.failures.map((f) => f.message).join('; ');
    const pending = result.failures.some(({ code }) => code === 'VOLUME_PROCESS');
    throw new AgentError({ code: pending ? 'VOLUMES_PENDING' : 'VOLUMES_NOT_READY', message });
  }, context);
}

/**
 * Kubelets before 1.27 said every two minutes which volumes they wait for; newer ones leave it at the event of each
 * volume (kubelet.go SyncPod). Gives back since when the next two minutes are counted.
 */
function waitingSince(failures: readonly VolumeFailure[], { deps, memory, pod, reports }: ActionContext): number {
  const now = deps.clock.monotonic();
  const since = memory.volumes.state === 'failed' ? memory.volumes.since : now;
  if (now - since < PATIENCE_MS) return since;
  const minor = deps.serverMinor();
  if (minor < 27) {
    const missing = failures.map(({ volume }) => volume).join(' ');
    const others =
      minor < 26
        ? `unattached volumes=[${usedVolumes(pod())
            .map(({ name }) => name)
            .join(' ')}]`
        : 'unattached volumes=[], failed to process volumes=[]';
    reports.pod(
      'Warning',
      'FailedMount',
      `Unable to attach or mount volumes: unmounted volumes=[${missing}], ${others}: timed out waiting for the condition`,
    );
  }
  return now;
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

export async function tearDown(context: ActionContext): Promise<void> {
  const { deps, memory, pod, signal } = context;
  await inSlot(() => deps.materials.release(pod().metadata.uid as string, signal), context);
  memory.volumes = { state: 'absent' };
  memory.tornDown = true;
}
