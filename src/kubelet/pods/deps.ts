import type { Clock, Logger } from '../../core/index.ts';
import type { RuntimeService } from '../../cri/types.ts';
import type { EventRecorder, Pod, PodStatus } from '../../kube/index.ts';
import type { Refusal } from '../admission/index.ts';
import type { ImagePuller } from '../images/index.ts';
import type { PodMaterials } from '../materials.ts';
import type { LogLinks } from './files.ts';
import type { Limiter } from './limiter.ts';
import type { ProbeRunner } from './probes/types.ts';
import type { RuntimeView } from './runtime-view.ts';
import type { StatusWriter } from './status/writer.ts';

/** Heavy runtime calls: starting and ending have slots of their own, so that neither waits for the other. */
export interface Limits {
  start: Limiter;
  volumes: Limiter;
  end: Limiter;
}

/** Who goes first in {@link Limits.end}: what brings a pod nearest to its end. Nobody waits for a removal. */
export const END_RANKS = { stop: 0, kill: 1, remove: 2 } as const;

/** What all workers share. */
export interface WorkerDeps {
  runtime: RuntimeService;
  view: RuntimeView;
  images: ImagePuller;
  materials: PodMaterials;
  recorder: EventRecorder;
  writer: Pick<StatusWriter, 'set' | 'observe' | 'flush' | 'confirmGone' | 'forget'>;
  links: LogLinks;
  probes: ProbeRunner;
  limits: Limits;
  clock: Clock;
  log: Logger;
  nodeName: string;
  hostIps(): readonly string[];
  serverMinor(): number;
  runtimeName: string;
  crashLoopMaxMs: number;
  /** See {@link PodManagerOptions.olderKept}. */
  olderKept?: number;
  /** See {@link PodManagerOptions.networkMissing}. */
  networkMissing?(signal: AbortSignal): Promise<string | undefined>;
  /** Whether a pod can have the resources it asks for now; see {@link PodMaterials.refuseResize}. */
  refuseResize(pod: Pod): Refusal | undefined;
  /** Reads a pod's latest computed status. */
  onStatus(pod: Pod, status: PodStatus): void;
  /** Nothing is left of the pod. */
  onDone(uid: string): void;
}
