import type { IncomingMessage } from 'node:http';
import { HttpFailure } from '../reply.ts';

export interface StreamOptions {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** The streams an exec or attach asks for (upstream: cri-streaming remotecommand NewOptions). Throws HttpFailure 400. */
export function streamOptions(query: URLSearchParams): StreamOptions {
  const on = (name: string) => query.get(name) === '1';
  const tty = on('tty');
  // A terminal has one output stream.
  const options = { stdin: on('input'), stdout: on('output'), stderr: on('error') && !tty, tty };
  if (!options.stdin && !options.stdout && !options.stderr)
    throw new HttpFailure(400, 'you must specify at least 1 of stdin, stdout, stderr');
  return options;
}

/**
 * The ports of a port-forward. Only WebSocket requests name them; SPDY names one with each stream (upstream:
 * cri-streaming portforward NewV4Options). Throws HttpFailure 400.
 */
export function forwardPorts(request: Pick<IncomingMessage, 'headers'>, query: URLSearchParams): number[] {
  if ((request.headers.upgrade ?? '').toLowerCase() !== 'websocket') return [];
  const texts = query.getAll('port');
  if (texts.length === 0) throw new HttpFailure(400, 'query parameter "port" is required');
  return texts.flatMap((text) => {
    if (text === '') throw new HttpFailure(400, 'query parameter "port" cannot be empty');
    return text.split(',').map((part) => {
      const port = /^\d{1,5}$/.test(part) ? Number(part) : Number.NaN;
      if (!(port <= 65_535)) throw new HttpFailure(400, `unable to parse "${text}" as a port`);
      if (port < 1) throw new HttpFailure(400, `port "${text}" must be > 0`);
      return port;
    });
  });
}
