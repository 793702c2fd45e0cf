import { type Clock, createBackoff, describeError, type Logger, rfc3339, sayOnce } from '../core/index.ts';
import type { KubeClient } from './client.ts';
import { isNotFound, isTransient } from './errors.ts';
import type { EventRecorder, ObjectReference } from './events.ts';

export interface EventRecorderOptions {
  client: Pick<KubeClient, 'create' | 'patch' | 'onReachable'>;
  /** `kubelet`. */
  component: string;
  /** The node's name. */
  host: string;
  clock: Clock;
  log: Logger;
  /** Waits until more urgent writes (statuses) are through; events are the first to wait on a slow link. */
  whenQuiet?(signal: AbortSignal): Promise<void>;
}

type EventType = 'Normal' | 'Warning';

interface Pending {
  about: ObjectReference;
  type: EventType;
  reason: string;
  message: string;
  annotations: Readonly<Record<string, string>> | undefined;
  /** Milliseconds since the epoch. */
  first: number;
  last: number;
  count: number;
}

/** An event the server has: the next like it only raises its count. */
interface Sent {
  name: string;
  namespace: string;
  first: number;
  count: number;
}

const MAX_QUEUE = 500;
const MAX_SENT = 2_000;
const MAX_SOURCES = 1_000;
/** Per object: 25 at once, then one per 5 minutes (client-go tools/record/events_cache.go). */
const BURST = 25;
const REFILL_MS = 300_000;
const MAX_MESSAGE = 1024;
/** How long an event gives way to more urgent writes. */
const PATIENCE_MS = 5_000;
/** Events older than this are of no use to anybody once the server is back. */
const MAX_AGE_MS = 3_600_000;

/**
 * Writes core/v1 Events as upstream's recorder does. `event` only puts into a bounded queue; one sender works it off
 * with the lowest urgency and outlives any absence of the server. Like events are one object with a count.
 */
export class KubeEventRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #queue = new Map<string, Pending>();
  readonly #sent = new Map<string, Sent>();
  readonly #tokens = new Map<string, { left: number; at: number }>();
  readonly #once = sayOnce();
  readonly #backoff = createBackoff({ initialMs: 500, maxMs: 30_000, jitter: 0.5 });
  readonly #abort = new AbortController();
  #loop: Promise<void> | undefined;
  #signal: AbortSignal = this.#abort.signal;
  #lastName = 0n;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Binds the sender to a signal; it works from the first event on, with or without. */
  async start(signal: AbortSignal): Promise<void> {
    this.#signal = AbortSignal.any([signal, this.#abort.signal]);
    this.#kick();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  /** How many wait to be sent. */
  get pending(): number {
    return this.#queue.size;
  }

  event(
    about: ObjectReference,
    type: EventType,
    reason: string,
    message: string,
    annotations?: Readonly<Record<string, string>>,
  ): void {
    const now = this.#options.clock.now();
    const text = message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 3)}...` : message;
    const key = [about.namespace, about.name, about.uid, about.fieldPath, type, reason, text].join('\u0000');
    const waiting = this.#queue.get(key);
    if (!this.#allowed(about)) return;
    if (waiting) {
      waiting.count++;
      waiting.last = now;
      return;
    }
    this.#queue.set(key, { about, type, reason, message: text, annotations, first: now, last: now, count: 1 });
    if (this.#queue.size > MAX_QUEUE) this.#shed();
    this.#kick();
  }

  /** The oldest ordinary event goes first, warnings last. */
  #shed(): void {
    for (const [key, pending] of this.#queue)
      if (pending.type === 'Normal') {
        this.#queue.delete(key);
        return;
      }
    this.#queue.delete(this.#queue.keys().next().value as string);
  }

  #allowed(about: ObjectReference): boolean {
    const now = this.#options.clock.monotonic();
    const key = `${about.namespace}/${about.name}/${about.uid}`;
    const bucket = this.#tokens.get(key) ?? { left: BURST, at: now };
    bucket.left = Math.min(BURST, bucket.left + (now - bucket.at) / REFILL_MS);
    bucket.at = now;
    this.#tokens.delete(key);
    this.#tokens.set(key, bucket);
    if (this.#tokens.size > MAX_SOURCES) this.#tokens.delete(this.#tokens.keys().next().value as string);
    if (bucket.left < 1) return false;
    bucket.left--;
    return true;
  }

  #kick(): void {
    if (this.#loop !== undefined || this.#signal.aborted) return;
    this.#loop = this.#run(this.#signal).finally(() => {
      this.#loop = undefined;
      if (this.#queue.size > 0) this.#kick(); // put in between the last look and the end
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, client, log } = this.#options;
    for (;;) {
      await this.#giveWay(signal);
      const next = this.#queue.entries().next().value;
      if (next === undefined || signal.aborted) return;
      const [key, pending] = next;
      this.#queue.delete(key);
      if (clock.now() - pending.last > MAX_AGE_MS) continue;
      try {
        await this.#send(key, pending, signal);
        this.#backoff.reset();
        this.#once.clear('error');
      } catch (error) {
        if (signal.aborted) return;
        if (this.#once.changed('error', describeError(error)))
          log.debug('an event was not accepted', { error: describeError(error) });
        // Refused for good: namespace going away, name in use, quota.
        if (!isTransient(error)) continue;
        this.#requeue(key, pending);
        const pause = new AbortController();
        const unsubscribe = client.onReachable(() => pause.abort());
        await clock.sleep(this.#backoff.next(), AbortSignal.any([signal, pause.signal])).catch(() => {});
        unsubscribe();
      }
    }
  }

  /** Patient, but not without end: a busy node's events are wanted too. */
  async #giveWay(signal: AbortSignal): Promise<void> {
    const { clock, whenQuiet } = this.#options;
    const oldest = this.#queue.values().next().value;
    const left = oldest === undefined ? 0 : Math.min(PATIENCE_MS, PATIENCE_MS - (clock.now() - oldest.first));
    if (whenQuiet === undefined || left <= 0) return;
    const enough = new AbortController();
    const cancel = clock.after(left, () => enough.abort());
    await whenQuiet(AbortSignal.any([signal, enough.signal])).catch(() => {});
    cancel();
  }

  #requeue(key: string, pending: Pending): void {
    const newer = this.#queue.get(key);
    this.#queue.set(key, newer ? { ...newer, first: pending.first, count: newer.count + pending.count } : pending);
    if (this.#queue.size > MAX_QUEUE) this.#shed();
  }

  async #send(key: string, pending: Pending, signal: AbortSignal): Promise<void> {
    const { client, component, host } = this.#options;
    const known = this.#sent.get(key);
    if (known) {
      const count = known.count + pending.count;
      const body = { count, lastTimestamp: rfc3339(pending.last), message: pending.message };
      try {
        await client.patch(`${pathOf(known.namespace)}/${known.name}`, 'strategic', body, { signal });
        this.#remember(key, { ...known, count });
        return;
      } catch (error) {
        // The server keeps events for an hour; then the next one is new.
        if (!isNotFound(error)) throw error;
        this.#sent.delete(key);
      }
    }
    const namespace = pending.about.namespace || 'default';
    const name = this.#name(pending.about.name, pending.first);
    await client.create(
      pathOf(namespace),
      {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name, namespace, ...(pending.annotations ? { annotations: pending.annotations } : {}) },
        involvedObject: pending.about,
        reason: pending.reason,
        message: pending.message,
        source: { component, host },
        firstTimestamp: rfc3339(pending.first),
        lastTimestamp: rfc3339(pending.last),
        count: pending.count,
        type: pending.type,
        eventTime: null,
        reportingComponent: component,
        reportingInstance: host,
      },
      { signal },
    );
    this.#remember(key, { name, namespace, first: pending.first, count: pending.count });
  }

  #remember(key: string, sent: Sent): void {
    this.#sent.delete(key);
    this.#sent.set(key, sent);
    if (this.#sent.size > MAX_SENT) this.#sent.delete(this.#sent.keys().next().value as string);
  }

  /** `object.` and the time in nanoseconds as hex, never the same twice. */
  #name(object: string, at: number): string {
    const nanoseconds = BigInt(Math.floor(at)) * 1_000_000n;
    this.#lastName = nanoseconds > this.#lastName ? nanoseconds : this.#lastName + 1n;
    return `${object.slice(0, 200)}.${this.#lastName.toString(16)}`;
  }
}

function pathOf(namespace: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
}
