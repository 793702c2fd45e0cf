import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { AgentError, errorCode } from '../../core/index.ts';
import { rpcText } from '../pods/rpc-text.ts';

/** An answer that is not a success, as the kubelet words it: plain text, which kubectl shows to people as it is. */
export class HttpFailure extends AgentError {
  readonly status: number;

  constructor(status: number, message: string, cause?: unknown) {
    super({ code: `KUBELET_HTTP_${status}`, message, cause });
    this.status = status;
  }
}

export interface Body {
  status: number;
  type?: string;
  body: string | Buffer;
}

const TEXT = 'text/plain; charset=utf-8';

export function send(response: ServerResponse, { status, type = TEXT, body }: Body): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}

/** So long a peer may take to notice that its connection ended, before it is cut. */
export const LINGER_MS = 5_000;

/** Answers on the bare socket of a request that asked for an upgrade, and ends the connection. */
export function sendRaw(socket: Duplex, { status, type = TEXT, body }: Body): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nContent-Type: ${type}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  // Nobody reads it any more, and an unread socket never learns that the other side closed.
  socket.resume();
  const cut = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(cut));
}

/** Any error as an answer; what is no {@link HttpFailure} is ours or the runtime's fault: 500 with its text. */
export function failureBody(error: unknown): Body {
  if (error instanceof HttpFailure) return { status: error.status, body: error.message };
  return { status: 500, body: error instanceof Error ? error.message : 'unknown error' };
}

/** An error of an exec, attach or port-forward call to the runtime (upstream: cri-streaming errors.go). */
export function streamingFailure(error: unknown): HttpFailure {
  if (error instanceof HttpFailure) return error;
  const status = { CRI_NOT_FOUND: 404, CRI_RESOURCE_EXHAUSTED: 429 }[errorCode(error) ?? ''] ?? 500;
  return new HttpFailure(status, rpcText(error), error);
}
