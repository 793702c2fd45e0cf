import type { Server } from 'node:net';
import { AgentError, type Clock, describeError, errorCode, hostPort, isAbort, type Logger } from '../../core/index.ts';

const RETRY_MS = 5_000;

export interface Listener {
  /** Why it does not listen; undefined while all is well. */
  readonly error: AgentError | undefined;
  /** Resolves when it listens or when the first try failed: further ones follow every 5 s. */
  start(signal: AbortSignal): Promise<void>;
}

/**
 * Makes a server listen, however long the port is taken: the kubelet of the original may still be running while a board
 * is changed over.
 */
export function createListener(init: {
  server: Server;
  what: string;
  host: string;
  port: number;
  clock: Clock;
  log: Logger;
}): Listener {
  const { server, what, host, port, clock, log } = init;
  let error: AgentError | undefined;

  const listen = () =>
    new Promise<void>((resolve) => {
      const onError = (cause: Error) => {
        server.off('listening', onListening);
        error = failure(cause);
        resolve();
      };
      const onListening = () => {
        server.off('error', onError);
        server.on('error', (later) => log.warn(`${what} has trouble`, { error: describeError(later) }));
        error = undefined;
        resolve();
      };
      server.once('error', onError);
      server.once('listening', onListening);
      server.listen({ host, port });
    });

  const failure = (cause: Error) => {
    const taken = errorCode(cause) === 'EADDRINUSE';
    return new AgentError({
      code: 'KUBELET_LISTEN',
      message: `${what} can't listen on ${hostPort(host, port)}: ${taken ? 'the port is taken' : describeError(cause)}`,
      ...(taken ? { remedy: 'stop the other kubelet or k3s on this host (`ss -ltnp` shows who has the port)' } : {}),
      cause,
    });
  };

  const keepTrying = async (signal: AbortSignal) => {
    log.error(error?.message ?? '', { remedy: error?.remedy });
    try {
      while (error !== undefined && !signal.aborted) {
        await clock.sleep(RETRY_MS, signal);
        if (!signal.aborted) await listen();
      }
      if (!signal.aborted) log.info(`${what} listens now`);
    } catch (reason) {
      if (!isAbort(reason)) log.error(`${what} gave up`, { error: describeError(reason) });
    }
  };

  return {
    get error() {
      return error;
    },
    async start(signal) {
      await listen();
      if (error !== undefined) void keepTrying(signal);
    },
  };
}
