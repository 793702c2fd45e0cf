import type { Pod } from '../../kube/index.ts';
import type { SpecContainer } from './model.ts';

/** Why a running container has to go though its pod stays: unwell as a probe or hook found, or no longer as it is to be. */
export type KillCause = 'liveness' | 'startup' | 'postStart' | 'changed' | 'resize' | 'unknown';

/** The text of the Killing event (kubelet kuberuntime_manager.go, kuberuntime_container.go). */
export function killMessage(pod: Pod, container: SpecContainer, cause: KillCause): string {
  const { kind, spec } = container;
  const isInit = kind === 'init' || kind === 'sidecar';
  const subject = isInit ? 'Init container' : 'Container';
  switch (cause) {
    case 'postStart':
      return 'FailedPostStartHook';
    case 'unknown':
      return `${subject} is in "unknown" state, try killing it before restart`;
    case 'resize':
      return `Container ${spec.name} resize requires restart`;
    case 'changed':
      return `${subject} ${spec.name} definition changed${isInit ? '' : ', will be restarted'}`;
    default: {
      const restarts = (spec.restartPolicy ?? pod.spec.restartPolicy ?? 'Always') !== 'Never';
      return `${subject} ${spec.name} failed ${cause} probe${restarts && !isInit ? ', will be restarted' : ''}`;
    }
  }
}

/** Seconds between the stop signal and SIGKILL: a probe may ask for others than the pod does. */
export function killGraceSeconds(pod: Pod, { spec }: SpecContainer, cause: KillCause): number {
  const probe = cause === 'liveness' ? spec.livenessProbe : cause === 'startup' ? spec.startupProbe : undefined;
  return graceSeconds(probe?.terminationGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds);
}

/** A grace period as the API allows it; 30 s when the field is missing or absurd. */
export function graceSeconds(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.min(value, 2 ** 31) : 30;
}
