import { rfc3339 } from '../../../core/index.ts';
import type { ContainerStatus, Pod, PodCondition } from '../../../kube/index.ts';
import type { Resizing } from '../memory.ts';
import { containersOf } from '../model.ts';
import { anyAppStarted, type Phase } from './phase.ts';

export interface ConditionFacts {
  pod: Pod;
  statuses: ReadonlyMap<string, ContainerStatus>;
  phase: Phase;
  /** The pod has a sandbox that is up. */
  sandboxReady: boolean;
  /** The pod's conditions before: transition times are kept from them, foreign ones decide readiness gates. */
  before: readonly PodCondition[];
  generation: number | undefined;
  /** PodReadyToStartContainers exists from 1.29. */
  withReadyToStart: boolean;
  /** The pod was put off this node for the sake of others: the text that says so. */
  disruption?: string | undefined;
  resize?: Resizing | undefined;
  /** All its containers are being removed in order to start anew; undefined: it has no rule that could ask for it. */
  restartingAll?: boolean | undefined;
  /** Milliseconds since the epoch. */
  now: number;
}

type Verdict = Pick<PodCondition, 'status' | 'reason' | 'message'>;

const YES: Verdict = { status: 'True' };

/** The conditions a kubelet owns, in upstream's order (kubelet pkg/kubelet/status/generate.go). */
export function conditionsOf(facts: ConditionFacts): PodCondition[] {
  const containersReady = containersReadyVerdict(facts);
  const verdicts: [string, Verdict][] = [
    ['Initialized', initializedVerdict(facts)],
    ['Ready', readyVerdict(facts, containersReady)],
    ['ContainersReady', containersReady],
    ['PodScheduled', YES],
  ];
  if (facts.withReadyToStart)
    verdicts.unshift(['PodReadyToStartContainers', { status: facts.sandboxReady ? 'True' : 'False' }]);
  if (facts.disruption !== undefined)
    verdicts.unshift([
      'DisruptionTarget',
      { status: 'True', reason: 'TerminationByKubelet', message: facts.disruption },
    ]);
  const { pending, generation: resizing, error } = facts.resize ?? {};
  const generations = new Map<string, number>();
  if (pending) {
    verdicts.unshift(['PodResizePending', { status: 'True', reason: pending.reason, message: pending.message }]);
    generations.set('PodResizePending', pending.generation);
  }
  if (resizing !== undefined) {
    verdicts.unshift([
      'PodResizeInProgress',
      { status: 'True', ...(error ? { reason: 'Error', message: error } : {}) },
    ]);
    generations.set('PodResizeInProgress', resizing);
  }
  if (facts.restartingAll !== undefined) verdicts.push(['AllContainersRestarting', restartingVerdict(facts)]);
  return verdicts.map(([type, verdict]) => {
    const old = facts.before.find((c) => c?.type === type);
    const lastTransitionTime =
      old?.status === verdict.status && old.lastTransitionTime ? old.lastTransitionTime : rfc3339(facts.now);
    return {
      type,
      status: verdict.status,
      lastProbeTime: null as unknown as string,
      lastTransitionTime,
      ...(verdict.reason === undefined ? {} : { reason: verdict.reason }),
      ...(verdict.message === undefined ? {} : { message: verdict.message }),
      ...(facts.generation === undefined || type === 'AllContainersRestarting'
        ? {}
        : { observedGeneration: generations.get(type) ?? facts.generation }),
    };
  });
}

function restartingVerdict({ phase, restartingAll }: ConditionFacts): Verdict {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  if (!restartingAll) return { status: 'False' };
  return {
    status: 'True',
    reason: 'RestartAllContainersStarted',
    message: 'container exited with restart policy rule',
  };
}

function containersReadyVerdict({ pod, statuses, phase }: ConditionFacts): Verdict {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  const unready = containersOf(pod)
    .filter((c) => (c.kind === 'sidecar' || c.kind === 'app') && statuses.get(c.spec.name)?.ready !== true)
    .map((c) => c.spec.name);
  if (unready.length === 0) return YES;
  return {
    status: 'False',
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.join(' ')}]`,
  };
}

function readyVerdict({ pod, before }: ConditionFacts, containersReady: Verdict): Verdict {
  if (containersReady.status !== 'True') return containersReady;
  const missing: string[] = [];
  for (const gate of pod.spec.readinessGates ?? []) {
    const condition = before.find((c) => c?.type === gate?.conditionType);
    if (condition === undefined)
      missing.push(`corresponding condition of pod readiness gate "${gate?.conditionType}" does not exist.`);
    else if (condition.status !== 'True')
      missing.push(`the status of pod readiness gate "${gate.conditionType}" is not "True", but ${condition.status}`);
  }
  if (missing.length === 0) return YES;
  return { status: 'False', reason: 'ReadinessGatesNotReady', message: missing.join(', ') };
}

function initializedVerdict({ pod, statuses, phase, before }: ConditionFacts): Verdict {
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  if (anyAppStarted(pod, statuses)) return YES;
  const incomplete = containersOf(pod)
    .filter((c) => {
      const status = statuses.get(c.spec.name);
      return (c.kind === 'init' && status?.ready !== true) || (c.kind === 'sidecar' && status?.started !== true);
    })
    .map((c) => c.spec.name);
  // Once initialized, always: init containers that run anew do not take that back.
  if (incomplete.length === 0 || before.some((c) => c?.type === 'Initialized' && c.status === 'True')) return YES;
  return {
    status: 'False',
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: [${incomplete.join(' ')}]`,
  };
}
