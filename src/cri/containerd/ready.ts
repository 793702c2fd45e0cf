import { dirname } from 'node:path';
import { AgentError, type Clock, errorCode, isAbort } from '../../core/index.ts';
import { isListening } from '../../host/index.ts';
import type { Connection } from '../client/connection.ts';
import type { RuntimeService } from '../types.ts';
import { lastComplaints, logSince } from './log-file.ts';
import { isAlive, type ProcessId, terminate } from './process.ts';

export interface ReadyOptions {
  /** `exited`: when it is our child. */
  readonly id: ProcessId & { readonly exited?: Promise<string> };
  readonly logFile: string;
  /** Where in the log this process begins. */
  readonly logFrom: number;
  readonly connection: Connection;
  readonly runtime: Pick<RuntimeService, 'version' | 'status'>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Between two tries to reach a starting containerd. */
const READY_STEP_MS = 20;
/** Recovering many containers from a slow card takes long; only a dead process is given up at once. */
const READY_LIMIT_MS = 120_000;

/**
 * Waits until CRI answers. Throws `CONTAINERD_EXITED`, `CONTAINERD_NO_CRI` or `CONTAINERD_STORE_DAMAGED`
 * with what the log says, or `CONTAINERD_SILENT`; a process that is of no use is ended.
 */
export async function waitReady(options: ReadyOptions): Promise<void> {
  const { id, logFrom, connection, runtime, logFile, clock, signal } = options;
  const end = clock.monotonic() + READY_LIMIT_MS;
  let death: string | undefined;
  void id.exited?.then((how) => {
    death = how;
  });
  let failure: unknown;
  for (;;) {
    if (death !== undefined || !(id.exited || (await isAlive(id)))) {
      const log = await logSince(logFile, logFrom);
      const why = lastComplaints(log) || 'its log says nothing';
      if (DAMAGE.test(log)) throw damaged(logFile, log);
      throw new AgentError({
        code: 'CONTAINERD_EXITED',
        message: `containerd ended while starting (${death ?? 'gone'}): ${why}`,
        remedy: `see ${logFile}`,
      });
    }
    if (await isListening(connection.socket)) {
      connection.reconnect();
      try {
        await runtime.version({ signal, timeoutMs: 5_000 });
        await runtime.status({ signal, timeoutMs: 5_000 });
        return;
      } catch (error) {
        if (isAbort(error)) throw error;
        // Services are all there before containerd listens: this one failed to load and will not come.
        if (errorCode(error) === 'CRI_UNIMPLEMENTED') {
          await terminate(id, 5_000, clock);
          const log = await logSince(logFile, logFrom);
          throw DAMAGE.test(log) ? damaged(logFile, log) : noCri(logFile, lastComplaints(log));
        }
        failure = error;
      }
    }
    if (clock.monotonic() > end) {
      await terminate(id, 5_000, clock);
      const message = `containerd did not answer within ${READY_LIMIT_MS / 1_000} s`;
      throw new AgentError({ code: 'CONTAINERD_SILENT', message, remedy: `see ${logFile}`, cause: failure });
    }
    await clock.sleep(READY_STEP_MS, signal);
  }
}

/** What containerd says, or dies of, when its database was cut off in the middle of a write. */
const DAMAGE = /invalid database|checksum error|unexpected fault address|file size too small/;

/** Nothing is deleted by itself: images that somebody imported by hand would be gone with it. */
function damaged(file: string, log: string): AgentError {
  const root = dirname(file);
  // Not the last complaint: what else could not be loaded for it comes after it, in any order.
  const why = lastComplaints(log.split('\n').find((line) => DAMAGE.test(line)) ?? log);
  return new AgentError({
    code: 'CONTAINERD_STORE_DAMAGED',
    message: `containerd's image store is damaged, perhaps by a power cut: ${why}`,
    remedy: `move ${root} away; images are pulled and imported anew, and the agent goes on by itself`,
  });
}

function noCri(log: string, why: string): AgentError {
  return new AgentError({
    code: 'CONTAINERD_NO_CRI',
    message: `containerd runs, but without its CRI part${why ? `: ${why}` : ''}`,
    remedy: `see ${log}; often the snapshotter does not work on this file system or kernel (try --snapshotter native)`,
  });
}
