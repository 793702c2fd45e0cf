import type { ServerResponse } from 'node:http';
import { internal, StatusError } from '../status.ts';

export function sendJson(response: ServerResponse, code: number, value: unknown): void {
  const text = `${JSON.stringify(value)}\n`;
  if (response.headersSent) return;
  response.writeHead(code, {
    'cache-control': 'no-cache, private',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendText(response: ServerResponse, code: number, text: string): void {
  response.writeHead(code, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Answers an error as metav1.Status; what is no StatusError is 500. */
export function sendError(response: ServerResponse, error: unknown): void {
  const status = toStatus(error);
  if (!response.headersSent) sendJson(response, status.code, status);
  else response.destroy();
}

export function toStatus(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  return internal(error instanceof Error ? error.message : String(error));
}
