import { K, type Kind } from '../kinds.ts';
import { type Obj, timestamp } from '../objects.ts';
import type { Settings } from '../options.ts';
import type { Authority } from '../pki/authority.ts';
import type { Registry } from '../registry/registry.ts';
import type { StoreEvent } from '../storage.ts';

/** What controllers work with. */
export interface ControllerContext {
  registry: Registry;
  settings: Settings;
  authority: Authority;
  /** Records an event about an object. */
  event(about: Obj, source: string, reason: string, message: string, type?: 'Normal' | 'Warning'): void;
}

/**
 * One control loop: `reconcile` looks at the whole store and brings it one step nearer. It is called after changes of
 * the kinds it watches (many changes, one call) and every `everyMs`.
 */
export interface Controller {
  name: string;
  watches: readonly Kind[];
  everyMs?: number;
  reconcile(context: ControllerContext): void;
  /** For what only an event tells. */
  onEvent?(event: StoreEvent, context: ControllerContext): void;
}

/** Runs the controllers until the returned function is called. */
export function runControllers(context: ControllerContext, controllers: readonly Controller[]): () => void {
  const { registry, settings } = context;
  const pending = new Set<Controller>();
  const timers: NodeJS.Timeout[] = [];
  let scheduled: NodeJS.Immediate | undefined;
  let stopped = false;
  const guard = (controller: Controller, run: () => void) => {
    try {
      run();
    } catch (error) {
      settings.log('a controller failed', { controller: controller.name, error: (error as Error).message });
    }
  };
  const drain = () => {
    scheduled = undefined;
    const batch = [...pending];
    pending.clear();
    for (const controller of batch) if (!stopped) guard(controller, () => controller.reconcile(context));
  };
  const wake = (controller: Controller) => {
    pending.add(controller);
    scheduled ??= setImmediate(drain);
  };
  const unsubscribe = registry.store.subscribe((event) => {
    for (const controller of controllers) {
      if (!controller.watches.some((kind) => kind.storage === event.storage)) continue;
      if (controller.onEvent) guard(controller, () => controller.onEvent?.(event, context));
      wake(controller);
    }
  });
  for (const controller of controllers) {
    wake(controller);
    if (controller.everyMs) timers.push(setInterval(() => wake(controller), controller.everyMs).unref());
  }
  return () => {
    stopped = true;
    unsubscribe();
    for (const timer of timers) clearInterval(timer);
    if (scheduled) clearImmediate(scheduled);
  };
}

/** Writes events the way client-go's recorder does, without counting repeats. */
export function createEventWriter(registry: Registry): ControllerContext['event'] {
  return (about, source, reason, message, type = 'Normal') => {
    const { name = '', namespace, uid, resourceVersion } = about.metadata;
    const now = timestamp();
    registry.create(K.events, namespace ?? 'default', {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: eventName(name) },
      count: 1,
      eventTime: null,
      firstTimestamp: now,
      lastTimestamp: now,
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name,
        ...(namespace ? { namespace } : {}),
        resourceVersion,
        uid,
      },
      message,
      reason,
      reportingComponent: source,
      reportingInstance: '',
      source: { component: source },
      type,
    });
  };
}

let lastNanos = 0n;

/** The object's name and the time in nanoseconds, so that names sort by time. */
function eventName(about: string): string {
  const now = BigInt(Date.now()) * 1_000_000n;
  lastNanos = now > lastNanos ? now : lastNanos + 1n;
  return `${about}.${lastNanos.toString(16)}`;
}
