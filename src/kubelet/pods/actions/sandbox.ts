import { AgentError, isAbort } from '../../../core/index.ts';
import type { ActionContext } from '../actions.ts';
import { END_RANKS } from '../deps.ts';
import { isNameTaken, isRuntimeAway } from '../failures.ts';
import { observedSandbox } from '../observe.ts';
import { rpcText } from '../rpc-text.ts';
import { preparePod } from './volumes.ts';

/** Begun pods go first: a slot is better spent on finishing one than on beginning another. */
const RANK_BEGIN = 1;

export async function createSandbox(attempt: number, context: ActionContext): Promise<void> {
  const { deps, signal, reports } = context;
  const { runtime, view, limits, materials } = deps;
  await awaitNetwork(context);
  await limits.start.run(
    RANK_BEGIN,
    async () => {
      // Deleted while it waited for its turn.
      if (context.ending() !== undefined) return;
      await preparePod(context);
      const pod = context.pod();
      // One given back while volumes were missing never held a container, and nobody missed it.
      if (attempt > 0 && view.get(pod.metadata.uid as string).containers.length > 0)
        reports.pod('Normal', 'SandboxChanged', 'Pod sandbox changed, it will be killed and re-created.');
      try {
        const { config, runtimeHandler, notices } = await materials.sandbox(pod, attempt, signal);
        for (const notice of notices) reports.pod(notice.type, notice.reason, notice.message);
        const id = await runtime.runPodSandbox(config, runtimeHandler, { signal });
        const status = await runtime.podSandboxStatus(id, { signal });
        view.putSandbox(ownerOf(context), observedSandbox(status));
      } catch (error) {
        if (isAbort(error)) throw error;
        // It may be there nevertheless, half made.
        await view.resync().catch(() => {});
        // What goes wrong because the pod was deleted meanwhile is no fault.
        if (!isRuntimeAway(error) && !isNameTaken(error) && context.ending() === undefined)
          reports.pod('Warning', 'FailedCreatePodSandBox', `Failed to create pod sandbox: ${rpcText(error)}`);
        throw error;
      }
    },
    context.stopping,
  );
}

/** Before a slot is taken: those who wait here must not keep the pods from starting that bring the network. */
async function awaitNetwork({ deps, pod, reports, stopping }: ActionContext): Promise<void> {
  if (pod().spec.hostNetwork === true) return;
  const missing = await deps.networkMissing?.(stopping);
  if (missing === undefined) return;
  const message = `network is not ready: ${missing}`;
  reports.pod('Warning', 'NetworkNotReady', message);
  throw new AgentError({ code: 'NETWORK_NOT_READY', message });
}

export async function stopSandbox(id: string, context: ActionContext): Promise<void> {
  const { deps, signal } = context;
  const { runtime, view, limits } = deps;
  await limits.end.run(
    END_RANKS.stop,
    async () => {
      await view.during(id, () => runtime.stopPodSandbox(id, { signal }));
      const uid = context.pod().metadata.uid as string;
      const known = view.get(uid).sandboxes.find((s) => s.id === id);
      if (known) view.putSandbox(ownerOf(context), { ...known, ready: false });
    },
    signal,
  );
}

/** Removes its containers too. Less urgent than stopping others: nobody waits for it. */
export async function removeSandbox(id: string, { deps, signal }: ActionContext): Promise<void> {
  const { runtime, view, limits } = deps;
  await limits.end.run(
    END_RANKS.remove,
    async () => {
      await runtime.removePodSandbox(id, { signal });
      view.drop(id);
    },
    signal,
  );
}

export function ownerOf(context: ActionContext): { uid: string; namespace: string; name: string } {
  const { uid = '', namespace = '', name = '' } = context.pod().metadata;
  return { uid, namespace, name };
}
