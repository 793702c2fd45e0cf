import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Backoff,
  type Clock,
  Coalescer,
  type Component,
  createBackoff,
  describeError,
  errorCode,
  isAbort,
  type Logger,
  sayOnce,
} from '../../core/index.ts';
import type { PluginInfo } from './registration.ts';

/** What takes plugins of one type up. */
export interface PluginHandler {
  /** Throws with a text for the plugin's log. `socket`: where it listens. */
  register(info: PluginInfo, socket: string, signal: AbortSignal): Promise<void>;
  /** Its registration socket is gone. */
  unregister(info: PluginInfo): void;
}

export interface PluginWatcherOptions {
  /** `/var/lib/kubelet/plugins_registry` */
  directory: string;
  /** By plugin type. */
  handlers: Readonly<Record<string, PluginHandler>>;
  clock: Clock;
  log: Logger;
}

interface Known {
  /** Tells a socket made anew from the one before. */
  made: string;
  info: PluginInfo | undefined;
  backoff: Backoff;
  /** Monotonic; when a failed registration is tried again. */
  retryAt: number;
  /** It is being asked: one that hangs holds up no other. */
  asked: boolean;
}

/** Sockets looked at; nobody has that many drivers. */
const MAX_PLUGINS = 256;
/** Registrars make the socket and serve it in two steps. */
const SETTLE_MS = 100;
/** A folder that can't be watched, as on a host that is out of inotify watches, is looked at so often. */
const RECHECK_MS = 30_000;

/**
 * Registers the plugins whose sockets appear in the registry folder (kubelet pkg/kubelet/pluginmanager), forgets those
 * whose socket is gone. One inotify watch; nothing else happens, and no gRPC code is loaded, while the folder is empty.
 */
export function createPluginWatcher(options: PluginWatcherOptions): Component {
  const { directory, handlers, clock, log } = options;
  const known = new Map<string, Known>();
  const once = sayOnce();
  const abort = new AbortController();
  let life: AbortSignal = abort.signal;
  let watcher: FSWatcher | undefined;
  let cancelTimer: (() => void) | undefined;
  let cancelSettle: (() => void) | undefined;
  const work = new Coalescer(() => reconcile().catch(fault).finally(arm));

  async function reconcile(): Promise<void> {
    if (life.aborted) return;
    await mkdir(directory, { recursive: true, mode: 0o750 });
    // First the watch, then the look; anew each time, since the folder may be another one of its name by now.
    follow();
    const found = await sockets(directory);
    for (const [socket, entry] of known)
      if (found.get(socket) !== entry.made) {
        known.delete(socket);
        if (entry.info) forget(entry.info);
      }
    for (const [socket, made] of found) {
      const entry = known.get(socket) ?? {
        made,
        info: undefined,
        backoff: createBackoff({ initialMs: 500, maxMs: 120_000 }),
        retryAt: 0,
        asked: false,
      };
      known.set(socket, entry);
      if (entry.info === undefined && !entry.asked && entry.retryAt <= clock.monotonic()) ask(socket, entry);
    }
  }

  function follow(): void {
    watcher?.close();
    watcher = undefined;
    if (life.aborted) return;
    try {
      watcher = watch(directory, { persistent: false }, settle);
      watcher.on('error', settle);
    } catch (error) {
      fault(error);
    }
  }

  function fault(error: unknown): void {
    const text = describeError(error);
    if (once.changed(directory, text))
      log.warn('plugins can not be watched; their folder is looked at now and then', { error: text });
  }

  function settle(): void {
    cancelSettle ??= clock.after(SETTLE_MS, () => {
      cancelSettle = undefined;
      work.poke();
    });
  }

  function ask(socket: string, entry: Known): void {
    entry.asked = true;
    void register(socket, entry).finally(() => {
      entry.asked = false;
      // Its socket went while it was asked.
      if (entry.info && known.get(socket) !== entry) forget(entry.info);
      work.poke();
    });
  }

  async function register(socket: string, entry: Known): Promise<void> {
    const { registerPlugin } = await import('./registration.ts');
    try {
      entry.info = await registerPlugin(
        socket,
        async (info) => {
          const handler = handlers[info.type];
          if (!handler)
            throw new Error(`no handler registered for plugin type: ${info.type.slice(0, 64)} at socket ${socket}`);
          await handler.register(info, info.endpoint === '' ? socket : info.endpoint, life);
        },
        life,
      );
      log.info('a plugin has registered', { plugin: entry.info.name, type: entry.info.type });
    } catch (error) {
      if (isAbort(error) || life.aborted) return;
      entry.retryAt = clock.monotonic() + entry.backoff.next();
      const text = describeError(error);
      if (entry.backoff.attempts === 1) log.warn('a plugin could not be registered', { socket, error: text });
    }
  }

  function forget(info: PluginInfo): void {
    // The same plugin may have registered through a new socket already.
    for (const other of known.values()) if (other.info?.type === info.type && other.info.name === info.name) return;
    log.info('a plugin is gone', { plugin: info.name, type: info.type });
    handlers[info.type]?.unregister(info);
  }

  function arm(): void {
    cancelTimer?.();
    cancelTimer = undefined;
    const due = [...known.values()].filter((e) => e.info === undefined && !e.asked).map((e) => e.retryAt);
    if (!watcher) due.push(clock.monotonic() + RECHECK_MS);
    if (due.length === 0 || life.aborted) return;
    cancelTimer = clock.after(Math.max(SETTLE_MS, Math.min(...due) - clock.monotonic()), () => work.poke());
  }

  return {
    async start(signal) {
      life = AbortSignal.any([signal, abort.signal]);
      work.poke();
      await work.idle();
    },
    async stop() {
      abort.abort();
      cancelTimer?.();
      cancelSettle?.();
      await work.idle();
      watcher?.close();
    },
  };
}

/** Sockets in the folder with a mark of when they were made. */
async function sockets(directory: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const entries = await readdir(directory, { withFileTypes: true }).catch((error) => {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  });
  for (const entry of entries) {
    if (entry.name.startsWith('.') || !entry.isSocket() || found.size >= MAX_PLUGINS) continue;
    const path = join(directory, entry.name);
    const made = await stat(path, { bigint: true }).catch(() => undefined);
    if (made) found.set(path, `${made.ino} ${made.ctimeNs}`);
  }
  return found;
}
