import { describeError, isAbort } from '../../../core/index.ts';
import type { ContainerConfig } from '../../../cri/types.ts';
import { removeLog } from '../../logs/index.ts';
import type { ActionContext } from '../actions.ts';
import { END_RANKS } from '../deps.ts';
import { isNameTaken, isRuntimeAway } from '../failures.ts';
import { findContainer, latest, type ObservedContainer, type SpecContainer } from '../model.ts';
import { usableSandbox } from '../plan-running.ts';
import type { Step } from '../plan-types.ts';
import { sortPodIps } from '../pod-ips.ts';
import { initialHealth, type ProbeTarget } from '../probes/types.ts';
import { sizeOf } from '../resize/size.ts';
import { crashEntry, nextCrashDelay } from '../restart.ts';
import { ownerOf } from './sandbox.ts';

type Start = Extract<Step, { do: 'startContainer' }>;

/** Before those who only begin. */
const RANK_CONTINUE = 0;

export async function startContainer(step: Start, context: ActionContext): Promise<void> {
  const { deps } = context;
  const container = findContainer(context.pod(), step.container);
  if (container === undefined) return;
  const started = await deps.limits.start.run(
    RANK_CONTINUE,
    async () => {
      if (context.ending() !== undefined) return undefined;
      // Counted before the try: a container that can't even be started crashes too.
      if (step.attempt > 0 && step.existing === undefined) noteCrash(container, context);
      return createAndStart(step, container, context);
    },
    context.stopping,
  );
  if (started === undefined) return;
  await runPostStart(container, started, context);
}

function noteCrash({ spec }: SpecContainer, { deps, memory, pod }: ActionContext): void {
  const before = latest(deps.view.get(pod().metadata.uid as string), spec.name);
  const now = deps.clock.monotonic();
  const exitedAt = before?.state === 'exited' ? before.exitedAt : now;
  const next = { exitedAt, now, maxMs: deps.crashLoopMaxMs };
  memory.crash.set(spec.name, nextCrashDelay(spec, crashEntry(memory, spec), next));
}

async function createAndStart(
  step: Start,
  container: SpecContainer,
  context: ActionContext,
): Promise<ObservedContainer | undefined> {
  const { deps, memory, reports, signal } = context;
  const { runtime, view } = deps;
  const id = step.existing ?? (await create(step, container, context));
  try {
    await view.during(id, () => runtime.startContainer(id, { signal }));
  } catch (error) {
    if (isAbort(error)) throw error;
    return failStart(container, 'RunContainerError', error, context);
  }
  reports.container(container, 'Normal', 'Started', 'Container started');
  memory.waiting.delete(step.container);
  memory.images.delete(step.container);
  return view.lookAtContainer(id, signal);
}

async function create(step: Start, container: SpecContainer, context: ActionContext): Promise<string> {
  const { deps, reports, signal } = context;
  const { runtime, view, clock } = deps;
  const configs = await configure(step, container, context);
  let id: string;
  try {
    id = await runtime.createContainer(step.sandboxId, configs.container, configs.sandbox, { signal });
  } catch (error) {
    if (isAbort(error)) throw error;
    if (isNameTaken(error)) {
      await view.resync().catch(() => {});
      throw error;
    }
    return failStart(container, 'CreateContainerError', error, context);
  }
  reports.container(container, 'Normal', 'Created', 'Container created');
  context.memory.actuated.set(id, { size: sizeOf(context.pod(), container.spec), resources: container.spec.resources });
  view.putContainer(ownerOf(context), created(id, step, configs.container, clock.now()));
  return id;
}

async function configure(step: Start, container: SpecContainer, context: ActionContext) {
  const { deps, memory, reports, signal } = context;
  const pod = context.pod();
  const podView = deps.view.get(pod.metadata.uid as string);
  const { name } = container.spec;
  const sandbox = podView.sandboxes.find((s) => s.id === step.sandboxId);
  const target = (container.spec as { targetContainerName?: string }).targetContainerName;
  try {
    const image = memory.images.get(name);
    if (memory.volumes.state !== 'ready' || image === undefined) throw new Error('volumes or image are not ready');
    const targetId = target === undefined || target === '' ? undefined : latest(podView, target)?.id;
    if (target && targetId === undefined) throw new Error(`unable to find target container ${target}`);
    const [made, { config }] = await Promise.all([
      deps.materials.container(
        {
          pod,
          container: container.spec,
          restartCount: step.attempt,
          podIps: pod.spec.hostNetwork === true ? deps.hostIps() : sortPodIps(sandbox?.ips ?? [], deps.hostIps()),
          volumes: memory.volumes.volumes,
          image,
          targetContainerId: targetId,
        },
        signal,
      ),
      deps.materials.sandbox(pod, sandbox?.attempt ?? 0, signal),
    ]);
    for (const notice of made.notices) reports.container(container, notice.type, notice.reason, notice.message);
    return { container: made.config, sandbox: config };
  } catch (error) {
    if (isAbort(error)) throw error;
    return failStart(container, 'CreateContainerConfigError', error, context);
  }
}

function failStart(container: SpecContainer, reason: string, error: unknown, context: ActionContext): never {
  const message = describeError(error);
  if (!isRuntimeAway(error)) {
    context.memory.waiting.set(container.spec.name, { reason, message });
    context.reports.container(container, 'Warning', 'Failed', `Error: ${message}`);
  }
  throw error;
}

/** As the runtime will show it until it is started. */
function created(id: string, step: Start, config: ContainerConfig, now: number): ObservedContainer {
  return {
    id,
    name: step.container,
    attempt: step.attempt,
    sandboxId: step.sandboxId,
    state: 'created',
    hash: config.annotations?.['io.kubernetes.container.hash'],
    createdAt: now,
    startedAt: 0,
    finishedAt: 0,
    exitedAt: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: config.image.userSpecifiedImage || config.image.image,
    imageRef: '',
    logPath: '',
    annotations: config.annotations ?? {},
    cutOff: false,
  };
}

async function runPostStart(
  container: SpecContainer,
  observed: ObservedContainer,
  context: ActionContext,
): Promise<void> {
  const { deps, memory, signal } = context;
  if (!container.spec.lifecycle?.postStart) return;
  try {
    await deps.probes.hook(targetOf(container, observed, context), 'postStart', signal);
    memory.health.set(observed.id, initialHealth(container));
  } catch (error) {
    if (isAbort(error)) throw error;
    // What the hook said may hold secrets: it is for the status only, as upstream has it.
    context.reports.container(container, 'Warning', 'FailedPostStartHook', 'PostStartHook failed');
    memory.health.set(observed.id, { started: false, ready: false, unhealthy: 'postStart' });
    memory.waiting.set(observed.name, { reason: 'PostStartHookError', message: describeError(error) });
  }
}

export function targetOf(
  container: SpecContainer,
  observed: ObservedContainer,
  { deps, pod, memory }: Pick<ActionContext, 'deps' | 'pod' | 'memory'>,
): ProbeTarget {
  const current = pod();
  const view = deps.view.get(current.metadata.uid as string);
  const ip = current.spec.hostNetwork === true ? deps.hostIps()[0] : usableSandbox({ pod: current, view })?.ips[0];
  return { pod: current, container, observed, podIp: ip, started: memory.health.get(observed.id)?.started === true };
}

export async function removeContainer(id: string, context: ActionContext): Promise<void> {
  const { deps, signal } = context;
  const { runtime, view, limits, links } = deps;
  const { uid, namespace, name } = ownerOf(context);
  const known = view.get(uid).containers.find((c) => c.id === id);
  // Before its name is free: the next one of that name may write to the very same file.
  if (known && known.logPath !== '') await removeLog(known.logPath);
  await limits.end.run(END_RANKS.remove, () => runtime.removeContainer(id, { signal }), signal);
  view.drop(id);
  if (known) await links.remove({ pod: name, namespace, container: known.name, id });
}
