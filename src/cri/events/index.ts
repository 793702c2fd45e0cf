import {
  type Clock,
  createBackoff,
  describeError,
  errorCode,
  isAbort,
  type Logger,
  silentLogger,
  systemClock,
} from '../../core/index.ts';
import { type Connection, inNamespace, methodsOf } from '../client/connection.ts';
import { containerdSchema } from '../proto/containerd.ts';
import { criSchema } from '../proto/cri.ts';
import type { RuntimeEvent, RuntimeEvents, RuntimeService } from '../types.ts';
import { ALL_TOPICS, EXTRA_TOPICS, filtersFor, readEnvelope } from './decode.ts';

export interface RuntimeEventsOptions {
  connection: Connection;
  runtime: Pick<RuntimeService, 'version'>;
  /** containerd's namespace of CRI's containers; `k8s.io` when left out. */
  namespace?: string;
  /** Between two resyncs without cause, ms; 5 minutes when left out. */
  relistMs?: number;
  log?: Logger;
  clock?: Clock;
}

export interface RuntimeEventSource extends RuntimeEvents {
  /** Begins following; resolves at once. */
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Where the events come from right now. */
  source(): 'none' | 'cri' | 'containerd' | 'relist';
}

const SUBSCRIBE = methodsOf('containerd.services.events.v1.Events', containerdSchema)(
  'Subscribe',
  'SubscribeRequest',
  'Envelope',
);
const CRI_EVENTS = methodsOf('runtime.v1.RuntimeService', criSchema)('GetContainerEvents', 'Empty', 'ContainerEvent');

const RELIST_MS = 5 * 60_000;
/** For a runtime that has no event stream at all. */
const BLIND_RELIST_MS = 2_000;

/**
 * Follows what happens to containers and sandboxes.
 *
 * From containerd 2.0 on, CRI's GetContainerEvents, plus containerd's own events service for images and OOM kills.
 * Before (and for 1.7, whose CRI stream is one channel that all its readers share, so that `crictl events` would eat our
 * events), containerd's events service alone, whose exits are `early`. A runtime with neither is relisted. A stream that
 * broke is opened again and followed by `resync`, as is every fifth minute.
 */
export function createRuntimeEvents(options: RuntimeEventsOptions): RuntimeEventSource {
  const { connection, runtime, namespace = 'k8s.io', relistMs = RELIST_MS } = options;
  const log = options.log ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const handlers = new Set<(event: RuntimeEvent) => void>();
  let stopping: AbortController | undefined;
  let done: Promise<unknown> = Promise.resolve();
  let source: 'none' | 'cri' | 'containerd' | 'relist' = 'none';
  let cancelRelist = () => {};

  const tell = (handler: (event: RuntimeEvent) => void, event: RuntimeEvent) => {
    try {
      handler(event);
    } catch (error) {
      log.error('A subscriber of runtime events failed', { error: describeError(error) });
    }
  };
  const emit = (event: RuntimeEvent) => {
    for (const handler of [...handlers]) tell(handler, event);
  };
  const resync = () => {
    cancelRelist();
    if (stopping?.signal.aborted === false)
      cancelRelist = clock.after(source === 'relist' ? BLIND_RELIST_MS : relistMs, resync);
    emit({ type: 'resync' });
  };

  const onEnvelope = (message: unknown) => {
    const event = readEnvelope(message);
    if (event === undefined) return;
    if (event.type === 'images') emit(event);
    else if (event.type === 'task') emit({ type: 'container', kind: event.kind, containerId: event.id });
    else emit({ type: 'container', kind: 'exited', containerId: event.id, exitCode: event.exitCode, early: true });
  };
  const subscribe = (topics: readonly string[], signal: AbortSignal) =>
    connection.stream(
      SUBSCRIBE,
      { filters: filtersFor(topics, namespace) },
      { signal, headers: inNamespace(namespace), onMessage: onEnvelope },
    );
  const criEvents = (signal: AbortSignal) =>
    connection.stream(CRI_EVENTS, {}, { signal, onMessage: (message) => emit(fromCri(message as CriEvent)) });

  /** Opens what suits the runtime; ends when the connection or the main stream does. */
  const follow = async (signal: AbortSignal) => {
    const { runtimeName, runtimeVersion } = await runtime.version({ signal, timeoutMs: 10_000 });
    const containerd = runtimeName === 'containerd';
    const major = Number(/^v?(\d+)\./.exec(runtimeVersion)?.[1] ?? Number.NaN);
    const useCri = !containerd || major >= 2;
    source = useCri ? 'cri' : 'containerd';
    const inner = new AbortController();
    const both = AbortSignal.any([signal, inner.signal]);
    try {
      const main = useCri ? criEvents(both) : subscribe(ALL_TOPICS, both);
      main.catch(() => {});
      // Its loss alone is no loss of containers' events: the main stream decides.
      if (useCri && containerd) subscribe(EXTRA_TOPICS, both).catch(() => {});
      // The streams' requests were sent before this one on the same connection: what comes after is seen by them.
      await Promise.race([main, runtime.version({ signal, timeoutMs: 10_000 })]);
      resync();
      await main;
    } catch (error) {
      if (!useCri || errorCode(error) !== 'CRI_UNIMPLEMENTED') throw error;
      source = 'relist';
      log.warn('The runtime has no event stream: its containers are listed every two seconds', { runtimeName });
      resync();
      await connection.stateChange('ready', signal);
    } finally {
      inner.abort();
    }
  };

  const loop = async (signal: AbortSignal) => {
    const backoff = createBackoff({ initialMs: 50, maxMs: 2_000 });
    while (!signal.aborted) {
      const since = clock.monotonic();
      try {
        await follow(signal);
      } catch (error) {
        if (isAbort(error) && signal.aborted) return;
        log.debug('The runtime event stream ended', { error: describeError(error) });
      }
      source = 'none';
      if (clock.monotonic() - since > 10_000) backoff.reset();
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  };

  return {
    subscribe(handler) {
      const own = (event: RuntimeEvent) => handler(event);
      handlers.add(own);
      queueMicrotask(() => {
        if (handlers.has(own)) tell(own, { type: 'resync' });
      });
      return () => void handlers.delete(own);
    },
    async start(signal) {
      stopping = new AbortController();
      done = loop(AbortSignal.any([signal, stopping.signal]));
    },
    async stop() {
      stopping?.abort();
      cancelRelist();
      await done;
    },
    source: () => source,
  };
}

interface CriEvent {
  containerId: string;
  kind: 'created' | 'started' | 'exited' | 'deleted' | 'changed';
  sandbox?: { id: string };
  containers: { id: string; exitCode: number }[];
}

function fromCri({ containerId, kind, sandbox, containers }: CriEvent): RuntimeEvent {
  const exitCode = kind === 'exited' ? containers.find((c) => c.id === containerId)?.exitCode : undefined;
  return {
    type: 'container',
    kind,
    containerId,
    ...(sandbox && sandbox.id !== '' ? { sandboxId: sandbox.id } : {}),
    ...(exitCode === undefined ? {} : { exitCode }),
  };
}
