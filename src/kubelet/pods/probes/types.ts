import type { Pod } from '../../../kube/index.ts';
import type { Health } from '../memory.ts';
import type { ObservedContainer, SpecContainer } from '../model.ts';

export interface ProbeTarget {
  pod: Pod;
  container: SpecContainer;
  observed: ObservedContainer;
  podIp: string | undefined;
  /** Its startup probe succeeded before, perhaps in an earlier run of the agent. */
  started: boolean;
}

/** What probes found out about a container. */
export type HealthChange = Partial<Health>;

/** Runs the probes of running containers and the hooks at their start and end. */
export interface ProbeRunner {
  /**
   * Probes this pod's containers from now on: begins with new ones, ends with those that are not named any more.
   * `report` is called with each change.
   */
  watch(uid: string, targets: readonly ProbeTarget[], report: (id: string, change: HealthChange) => void): void;
  forget(uid: string): void;
  /** Runs a lifecycle hook. Throws with upstream's text if it fails. */
  hook(target: ProbeTarget, which: 'postStart' | 'preStop', signal: AbortSignal): Promise<void>;
}

/** A container that has neither probes nor hooks is well as long as it runs. */
export function initialHealth(container: SpecContainer): Health {
  const { startupProbe, readinessProbe } = container.spec;
  return { started: !startupProbe, ready: !startupProbe && !readinessProbe };
}
