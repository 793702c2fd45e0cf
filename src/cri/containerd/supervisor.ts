import {
  AgentError,
  type Clock,
  type Component,
  createBackoff,
  describeError,
  errorCode,
  type Logger,
  silentLogger,
  systemClock,
} from '../../core/index.ts';
import { type Exec, hostExec, isListening, readState, writeState } from '../../host/index.ts';
import type { Connection } from '../client/connection.ts';
import type { RuntimeService } from '../types.ts';
import type { ContainerdVersion } from './binary.ts';
import { fileSize, rotateLog } from './log-file.ts';
import { type ContainerdOptions, containerdPaths, type Prepared, prepareContainerd } from './prepare.ts';
import { findByArgument, isAlive, type ProcessId, spawnDetached, terminate } from './process.ts';
import { waitReady } from './ready.ts';

export interface SupervisorOptions extends ContainerdOptions {
  connection: Connection;
  runtime: Pick<RuntimeService, 'version' | 'status'>;
  exec?: Exec;
  log?: Logger;
  clock?: Clock;
  env?: NodeJS.ProcessEnv;
}

export type ContainerdState = 'stopped' | 'starting' | 'running' | 'failing';

export interface ContainerdStatus {
  readonly state: ContainerdState;
  readonly version: string | undefined;
  readonly pid: number | undefined;
  readonly socket: string;
  readonly lastError: string | undefined;
}

export interface Supervisor extends Component {
  status(): ContainerdStatus;
  prepared(): Prepared | undefined;
  /** Ends containerd itself (containers go on under their shims); for removal and tests. After stop(). */
  shutdown(): Promise<void>;
}

interface Running extends ProcessId {
  readonly hash: string;
  readonly binary: string;
  readonly stamp: string;
  readonly version: ContainerdVersion;
}

const ROTATE_EVERY_MS = 10 * 60_000;

/**
 * Keeps a containerd running that lives longer than the agent. One already running by the same configuration, binary and
 * arguments is adopted; one that differs is replaced (its containers go on: they belong to their shims); one that dies
 * is started again. `start` resolves once CRI answers. It throws where waiting can't help: no or too old a containerd, a
 * bad template, somebody else on the socket.
 */
export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { connection, runtime, exec = hostExec, env = process.env } = options;
  const log = options.log ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const paths = containerdPaths(options);
  const stopping = new AbortController();
  let state: ContainerdState = 'stopped';
  let lastError: string | undefined;
  let prepared: Prepared | undefined;
  let current: (Running & { exited?: Promise<string> }) | undefined;
  let done: Promise<void> = Promise.resolve();
  let cancelRotation = () => {};

  const fail = (error: unknown) => {
    state = 'failing';
    lastError = describeError(error);
  };

  const prepare = async (): Promise<{ plan: Prepared; record: Running | undefined }> => {
    const record = await readState<Running>(paths.record);
    const plan = await prepareContainerd(options, {
      exec,
      log,
      env,
      knownVersion: (binary) =>
        record?.binary === binary.path && record.stamp === binary.stamp ? record.version : undefined,
    });
    prepared = plan;
    return { plan, record };
  };

  const launch = async (plan: Prepared) => {
    await rotate();
    const logFrom = await fileSize(paths.log);
    const { exited, ...id } = await spawnDetached({ argv: plan.argv, env: plan.env, logFile: paths.log });
    const { binary, version, hash } = plan;
    const running: Running = { ...id, hash, binary: binary.path, stamp: binary.stamp, version };
    current = { ...running, exited };
    try {
      await writeState(paths.record, running);
    } catch (error) {
      // It serves without; only the next agent will have to look for it, and restart it.
      log.warn('The start of containerd could not be recorded', { path: paths.record, error: describeError(error) });
    }
    return { id: current, logFrom };
  };

  const adopt = (record: Running) => {
    current = record;
    return { id: current, logFrom: Number.MAX_SAFE_INTEGER };
  };

  /** Takes over what runs already, or clears the way. Undefined: nothing runs. */
  const settleExisting = async (plan: Prepared, record: Running | undefined) => {
    if (record && (await isAlive(record))) {
      if (record.hash === plan.hash) return adopt(record);
      log.info('containerd is restarted, since its configuration changed; containers go on', { pid: record.pid });
      await terminate(record, 10_000, clock);
      return undefined;
    }
    if (!(await isListening(paths.socket))) return undefined;
    const lost = await findByArgument(paths.config);
    if (lost.length === 0) throw socketTaken(paths.socket);
    log.info('containerd is restarted, since the record of its start is lost; containers go on');
    for (const id of lost) await terminate(id, 10_000, clock);
    return undefined;
  };

  /** Resolves with how it ended. For an adopted process, which is not our child, the connection is the event. */
  const watch = async (id: NonNullable<typeof current>, signal: AbortSignal): Promise<string> => {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const adopted = async () => {
      for (;;) {
        const link = connection.state();
        if (link !== 'ready') {
          if (!(await isAlive(id))) return 'gone';
          // Alive but not connected: a call makes the channel connect again, and the pause keeps this from spinning.
          await runtime.version({ signal: both, timeoutMs: 10_000 }).catch(() => {});
          if (connection.state() !== 'ready') await clock.sleep(500, both);
        } else await connection.stateChange('ready', both);
      }
    };
    try {
      return await Promise.race([adopted(), ...(id.exited ? [id.exited] : [])]);
    } finally {
      over.abort();
    }
  };

  const rotate = async () => {
    try {
      const { logMaxBytes = 10 * 1024 * 1024, logKeep = 3 } = options;
      await rotateLog({ path: paths.log, maxBytes: logMaxBytes, keep: logKeep });
    } catch (error) {
      log.warn('The log of containerd could not be rotated', { error: describeError(error) });
    }
  };
  const rotateLater = () => {
    cancelRotation = clock.after(ROTATE_EVERY_MS, () => void rotate().then(rotateLater));
  };

  const bringUp = async (signal: AbortSignal) => {
    state = 'starting';
    const since = clock.monotonic();
    const { plan, record } = await prepare();
    const existing = await settleExisting(plan, record);
    const { id, logFrom } = existing ?? (await launch(plan));
    await waitReady({ id, logFrom, connection, runtime, logFile: paths.log, clock, signal });
    state = 'running';
    lastError = undefined;
    log.info(existing ? 'containerd is adopted' : 'containerd is up', {
      version: plan.version.text,
      pid: id.pid,
      ms: Math.round(clock.monotonic() - since),
    });
    return id;
  };

  const keepUp = async (first: NonNullable<typeof current>, signal: AbortSignal) => {
    const backoff = createBackoff({ initialMs: 200, maxMs: 30_000 });
    let id: typeof current = first;
    let restarts = 0;
    for (;;) {
      const since = clock.monotonic();
      try {
        id ??= await bringUp(signal);
        const how = await watch(id, signal);
        fail(new AgentError({ code: 'CONTAINERD_EXITED', message: `containerd ended (${how})` }));
        log.warn('containerd ended and is started again; containers go on', { how });
      } catch (error) {
        if (signal.aborted) return;
        fail(error);
        log.error('containerd does not come up', { error: lastError });
      }
      id = undefined;
      if (clock.monotonic() - since > 30_000) {
        backoff.reset();
        restarts = 0;
      }
      // One death is made good at once; only what dies again and again has to wait.
      if (restarts++ > 0) await clock.sleep(backoff.next(), signal).catch(() => {});
      if (signal.aborted) return;
    }
  };

  return {
    async start(outer) {
      const signal = AbortSignal.any([outer, stopping.signal]);
      const backoff = createBackoff({ initialMs: 200, maxMs: 30_000 });
      let first: typeof current;
      while (first === undefined)
        try {
          first = await bringUp(signal);
        } catch (error) {
          fail(error);
          if (signal.aborted || !isPassing(error)) throw error;
          log.error('containerd does not come up', { error: lastError });
          await clock.sleep(backoff.next(), signal);
        }
      rotateLater();
      done = keepUp(first, signal);
    },
    async stop() {
      stopping.abort();
      cancelRotation();
      await done;
      state = 'stopped';
    },
    async shutdown() {
      if (current) await terminate(current, 10_000, clock);
    },
    status: () => ({
      state,
      version: prepared?.version.text,
      pid: current?.pid,
      socket: paths.socket,
      lastError,
    }),
    prepared: () => prepared,
  };
}

/** What may be better at the next try; the rest needs a person and is told at once. */
function isPassing(error: unknown): boolean {
  const passing = ['EXITED', 'SILENT', 'NO_CRI', 'STORE_DAMAGED'].map((name) => `CONTAINERD_${name}`);
  return [...passing, 'EXEC_TIMEOUT'].includes(errorCode(error) ?? '');
}

function socketTaken(socket: string): AgentError {
  return new AgentError({
    code: 'CONTAINERD_SOCKET_TAKEN',
    message: `another container runtime already serves ${socket}`,
    remedy: `stop it (a k3s service? "ss -xlp | grep ${socket}" names it), or use it with --container-runtime-endpoint`,
  });
}
