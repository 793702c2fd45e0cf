import {
  type Clock,
  type Component,
  createBackoff,
  describeError,
  isAbort,
  type Logger,
  rfc3339Micro,
  sayOnce,
} from '../../core/index.ts';
import { isNotFound, isStatus, type KubeClient } from '../../kube/index.ts';

export interface LeaseOptions {
  client: Pick<KubeClient, 'create' | 'patch' | 'onReachable'>;
  nodeName: string;
  /** The Node's uid once it is known; the lease is owned by it, so that it goes with it. */
  nodeUid: () => string | undefined;
  /** How long the lease lasts; 40 when left out. Renewed at a quarter of that. */
  durationSeconds?: number;
  clock: Clock;
  log: Logger;
}

const NAMESPACE = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
/** The kubelet's: the lease lasts 40 s and is renewed at a quarter of that. */
const DURATION_SECONDS = 40;

/**
 * Renews the node's lease every 10 s (a quarter of its duration): the sign of life by which the server tells a working node from a dead one. A
 * failed renewal is repeated after 1 to 5 s, or at once when the server answers again.
 */
export class LeaseKeeper implements Component {
  readonly #options: LeaseOptions;
  readonly #abort = new AbortController();
  readonly #once = sayOnce();
  #loop: Promise<void> | undefined;
  /** Wall clock of the last renewal that the server confirmed, ms since the epoch. */
  renewedAt: number | undefined;
  lastError: string | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  get #duration(): number {
    return this.#options.durationSeconds ?? DURATION_SECONDS;
  }

  async start(signal: AbortSignal): Promise<void> {
    this.#loop ??= this.#run(AbortSignal.any([signal, this.#abort.signal]));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { client, clock, log } = this.#options;
    const backoff = createBackoff({ initialMs: 1_000, maxMs: 5_000 });
    while (!signal.aborted) {
      let pause = this.#duration * 250;
      try {
        await this.#renew(signal);
        this.renewedAt = clock.now();
        if (this.lastError !== undefined) log.info('the node lease is renewed again');
        this.lastError = undefined;
        this.#once.clear('renew');
        backoff.reset();
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        this.lastError = describeError(error);
        if (this.#once.changed('renew', this.lastError))
          log.warn('the node lease could not be renewed', { error: this.lastError });
        pause = backoff.next();
      }
      const wake = new AbortController();
      const unsubscribe = this.lastError === undefined ? () => {} : client.onReachable(() => wake.abort());
      await clock.sleep(pause, AbortSignal.any([signal, wake.signal])).catch(() => {});
      unsubscribe();
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const { client, clock, nodeName } = this.#options;
    const spec = { renewTime: rfc3339Micro(clock.now()) };
    // On a link where every byte counts the answer is not wanted, save after a failure: what it says then is for people.
    const options = { signal, timeoutMs: 10_000, discard: this.lastError === undefined };
    try {
      await client.patch(`${NAMESPACE}/${nodeName}`, 'merge', { spec }, options);
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await this.#create(signal);
    }
  }

  async #create(signal: AbortSignal): Promise<void> {
    const { client, clock, nodeName, nodeUid } = this.#options;
    const uid = nodeUid();
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: nodeName,
        namespace: 'kube-node-lease',
        ...(uid ? { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }] } : {}),
      },
      spec: {
        holderIdentity: nodeName,
        leaseDurationSeconds: this.#duration,
        renewTime: rfc3339Micro(clock.now()),
      },
    };
    try {
      await client.create(NAMESPACE, lease, { signal, timeoutMs: 10_000 });
    } catch (error) {
      if (!isStatus(error, 409)) throw error; // made meanwhile: the next renewal patches it
    }
  }
}
