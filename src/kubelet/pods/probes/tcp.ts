import { connect } from 'node:net';
import { abortError, errorCode, hostPort } from '../../../core/index.ts';
import type { Verdict } from './check.ts';

/** Connects and closes at once. Texts are Go's. */
export function tcpVerdict(host: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Verdict> {
  const address = hostPort(host, port);
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError());
      return;
    }
    const socket = connect({ host, port });
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort);
      // FIN, no reset: servers log resets as faults.
      socket.destroy();
      settle();
    };
    const onAbort = () => end(() => reject(abortError()));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.setTimeout(timeoutMs, () =>
      end(() => resolve({ result: 'failure', output: `dial tcp ${address}: i/o timeout` })),
    );
    socket.once('connect', () => end(() => resolve({ result: 'success', output: '' })));
    socket.on('error', (error) =>
      end(() => resolve({ result: 'failure', output: `dial tcp ${address}: ${connectText(error)}` })),
    );
  });
}

/** What Go says for a failed connect(2). */
export function connectText(error: unknown): string {
  const texts: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connect: connection refused',
    EHOSTUNREACH: 'connect: no route to host',
    ENETUNREACH: 'connect: network is unreachable',
    ECONNRESET: 'read: connection reset by peer',
    ETIMEDOUT: 'connect: connection timed out',
  };
  return texts[errorCode(error) ?? ''] ?? (error instanceof Error ? error.message : 'connect failed');
}
