import { createHash } from 'node:crypto';
import { type Clock, describeError, type Logger } from '../../core/index.ts';
import { readState, writeState } from '../../host/index.ts';
import type { Pod } from '../../kube/index.ts';

/** Least time between two writes: a rollout is one write, and flash memory lasts. */
const EVERY_MS = 30_000;

export interface DesiredCacheOptions {
  /** State file, readable by root only. */
  path: string;
  clock: Clock;
  log: Logger;
}

/**
 * The last known desired pods on disk, so that they can be started while no server can be reached. Specs and identity
 * only: no statuses (they change all the time), no Secrets (pods only name them). Written when a spec changed.
 */
export class DesiredCache {
  readonly #options: DesiredCacheOptions;
  readonly #pods = new Map<string, { pod: Pod; digest: string }>();
  #written = '';
  #cancel: (() => void) | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: DesiredCacheOptions) {
    this.#options = options;
  }

  /** What an earlier run left; empty if there is nothing or it is damaged. */
  async load(): Promise<Pod[]> {
    const state = await readState<{ pods?: Pod[] }>(this.#options.path);
    const pods = Array.isArray(state?.pods) ? state.pods : [];
    this.#written = signature(pods.map((pod) => [pod.metadata?.uid ?? '', digestOf(pod)]));
    return pods;
  }

  set(pod: Pod): void {
    const uid = pod.metadata.uid as string;
    // A pod on its way out is not to be started again.
    if (pod.metadata.deletionTimestamp !== undefined) {
      this.delete(uid);
      return;
    }
    this.#pods.set(uid, { pod, digest: digestOf(pod) });
    this.#plan();
  }

  delete(uid: string): void {
    if (this.#pods.delete(uid)) this.#plan();
  }

  /** Writes what is not on disk yet. */
  async flush(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  #plan(): void {
    this.#cancel ??= this.#options.clock.after(EVERY_MS, () => void this.flush());
  }

  async #write(): Promise<void> {
    const now = signature([...this.#pods].map(([uid, { digest }]) => [uid, digest]));
    if (now === this.#written) return;
    try {
      await writeState(this.#options.path, { pods: [...this.#pods.values()].map(({ pod }) => lean(pod)) });
      this.#written = now;
    } catch (error) {
      this.#options.log.warn('the last known pods could not be kept on disk', { error: describeError(error) });
    }
  }
}

function lean(pod: Pod): Pod {
  const { name, namespace, uid, labels, annotations, creationTimestamp, ownerReferences, generation } = pod.metadata;
  return {
    metadata: {
      ...(name === undefined ? {} : { name }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
      ...(creationTimestamp ? { creationTimestamp } : {}),
      ...(ownerReferences ? { ownerReferences } : {}),
      ...(generation === undefined ? {} : { generation }),
    },
    spec: pod.spec,
  };
}

function digestOf(pod: Pod): string {
  return createHash('sha256')
    .update(JSON.stringify(lean(pod)))
    .digest('base64');
}

function signature(entries: [string, string][]): string {
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
