import { decode } from '../../grpc/index.ts';
import { containerdSchema } from '../proto/containerd.ts';

/** What the agent cares about in one of containerd's own events. `exited` may come before CRI knows of it. */
export type ContainerdEvent =
  | { type: 'exited'; id: string; exitCode: number }
  | { type: 'task'; kind: 'created' | 'started' | 'deleted' | 'oom'; id: string }
  | { type: 'images' };

/**
 * Subscriptions: one entry a topic, any of them matches. Execs (each exec probe is one) send four events that say
 * nothing about the container; all but their exits are left out at the source.
 */
export const ALL_TOPICS: readonly string[] = [
  '/tasks/start',
  '/tasks/exit',
  '/tasks/oom',
  '/containers/create',
  '/containers/delete',
  '/images/create',
  '/images/update',
  '/images/delete',
];

/** What CRI's own event stream lacks. */
export const EXTRA_TOPICS: readonly string[] = ['/tasks/oom', '/images/create', '/images/update', '/images/delete'];

export function filtersFor(topics: readonly string[], namespace: string): string[] {
  return topics.map((topic) => `namespace==${namespace},topic=="${topic}"`);
}

interface Envelope {
  namespace: string;
  topic: string;
  event?: { typeUrl: string; value: Uint8Array };
}

/**
 * Reads an envelope of `containerd.services.events.v1`; undefined for what does not matter, such as the exit of a
 * process that was exec'd into a container (its id is not the container's). Never throws.
 */
export function readEnvelope(message: unknown): ContainerdEvent | undefined {
  const { topic, event } = message as Envelope;
  if (topic.startsWith('/images/')) return { type: 'images' };
  if (!event) return undefined;
  try {
    switch (topic) {
      case '/tasks/exit': {
        const exit = decode(containerdSchema, 'TaskExit', event.value) as {
          containerId: string;
          id: string;
          exitStatus: number;
        };
        if (exit.containerId === '' || (exit.id !== '' && exit.id !== exit.containerId)) return undefined;
        return { type: 'exited', id: exit.containerId, exitCode: exit.exitStatus };
      }
      case '/tasks/start':
        return task('started', 'TaskEvent', 'containerId', event.value);
      case '/tasks/oom':
        return task('oom', 'TaskEvent', 'containerId', event.value);
      case '/containers/create':
        return task('created', 'ContainerEvent', 'id', event.value);
      case '/containers/delete':
        return task('deleted', 'ContainerEvent', 'id', event.value);
      default:
        return undefined;
    }
  } catch {
    return undefined; // a garbled event; the relist sees what it was about
  }
}

function task(
  kind: 'created' | 'started' | 'deleted' | 'oom',
  message: string,
  field: string,
  bytes: Uint8Array,
): ContainerdEvent | undefined {
  const id = (decode(containerdSchema, message, bytes) as Record<string, string>)[field];
  return id ? { type: 'task', kind, id } : undefined;
}
