import { type Clock, type Component, type Logger, sayOnce } from '../../core/index.ts';
import { Informer, type KubeClient, objectKey, type Pod } from '../../kube/index.ts';
import { isMirrorPod } from '../containers/spec.ts';
import { podFault, withSoundStatus } from './validate.ts';

/** `set`: this pod is to run as it is here. `removed`: it is no longer wanted by anybody (last known version). */
export type PodChange = { type: 'set' | 'removed'; pod: Pod };

/**
 * Where the desired pods come from: the API server, files on disk. Nothing is reported as removed on doubt: a
 * source that can't be reached keeps what it knew.
 */
export interface PodSource extends Component {
  /** Calls `handler` for every pod there is now and every change; returns the unsubscriber. */
  subscribe(handler: (change: PodChange) => void): () => void;
  /** True once all pods of this source are known: only then is a pod nobody named an orphan. */
  readonly synced: boolean;
  whenSynced(): Promise<void>;
  /** True if what the runtime holds of a pod that nobody names may be one that this source can't read at the moment. */
  spares?(pod: { uid: string }): boolean;
}

export interface ApiPodSourceOptions {
  client: KubeClient;
  nodeName: string;
  clock: Clock;
  log: Logger;
}

/** The pods the scheduler put on this node. */
export class ApiPodSource implements PodSource {
  readonly #informer: Informer<Pod>;

  constructor(options: ApiPodSourceOptions) {
    const { client, nodeName, clock, log } = options;
    const once = sayOnce();
    this.#informer = new Informer<Pod>({
      client,
      path: '/api/v1/pods',
      fieldSelector: `spec.nodeName=${nodeName}`,
      clock,
      log,
      transform: (pod) => {
        const fault = podFault(pod);
        if (fault === undefined) return withOwnSource(withSoundStatus(pod));
        const key = objectKey(pod);
        if (once.changed(key, fault)) log.warn('a pod is left alone', { pod: key, fault });
        return undefined;
      },
    });
  }

  start(signal: AbortSignal): Promise<void> {
    return this.#informer.start(signal);
  }

  stop(): Promise<void> {
    return this.#informer.stop();
  }

  get synced(): boolean {
    return this.#informer.synced;
  }

  /** Why the watch is broken now; undefined while it works. */
  get lastError(): string | undefined {
    return this.#informer.lastError;
  }

  whenSynced(): Promise<void> {
    return this.#informer.whenSynced();
  }

  subscribe(handler: (change: PodChange) => void): () => void {
    return this.#informer.subscribe((change) =>
      handler({ type: change.type === 'deleted' ? 'removed' : 'set', pod: change.object }),
    );
  }
}

const SOURCE = 'kubernetes.io/config.source';

/** A pod of the server is one, whatever it says: pods of files may do more. */
export function withOwnSource(pod: Pod): Pod {
  const { annotations } = pod.metadata;
  if (annotations?.[SOURCE] === undefined || isMirrorPod(pod)) return pod;
  return { ...pod, metadata: { ...pod.metadata, annotations: { ...annotations, [SOURCE]: 'api' } } };
}
