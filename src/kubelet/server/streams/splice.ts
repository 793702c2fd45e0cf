import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { describeError } from '../../../core/index.ts';
import { HttpFailure, LINGER_MS, sendRaw } from '../reply.ts';

/** From the runtime's streaming server, on this host's loopback. */
const CONNECT_MS = 30_000;

export interface SpliceInit {
  request: IncomingMessage;
  /** The client's connection, after the HTTP parser let go of it. */
  socket: Socket;
  /** What the client sent behind the request's head. */
  head: Buffer;
  /** The one-time URL the runtime gave. */
  url: string;
}

/**
 * Repeats the client's upgrade request to the runtime's streaming server and then copies bytes both ways; what they
 * speak (SPDY/3.1 or WebSocket) is between those two. Resolves when the stream is over. There is no time limit on a
 * silent stream. Throws HttpFailure 500 while nothing was answered yet.
 */
export function splice({ request, socket, head, url }: SpliceInit): Promise<void> {
  return new Promise((resolve, reject) => {
    let target: URL;
    try {
      target = new URL(url);
      if (target.protocol !== 'http:') throw new Error(`streaming over ${target.protocol} is not supported`);
    } catch (error) {
      return reject(new HttpFailure(500, `the runtime's streaming address: ${describeError(error)}`));
    }
    const upstream = httpRequest({
      host: target.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: target.port || 80,
      method: request.method,
      path: target.pathname + target.search,
      headers: forwardedHeaders(request, target.host),
      agent: false,
      timeout: CONNECT_MS,
    });
    const onClientClose = () => upstream.destroy();
    socket.once('close', onClientClose);
    const settled = () => {
      socket.off('close', onClientClose);
      upstream.setTimeout(0);
    };
    upstream.on('timeout', () => upstream.destroy(new Error('no answer in time')));
    upstream.on('error', (error) => {
      settled();
      if (socket.destroyed) resolve();
      else reject(new HttpFailure(500, `the runtime's streaming server: ${describeError(error)}`, error));
    });
    upstream.on('response', (response) => {
      settled();
      relayRefusal(response, socket).then(resolve, reject);
    });
    upstream.on('upgrade', (response, backend, backendHead) => {
      settled();
      backend.setTimeout(0);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headerLines(response.rawHeaders)}\r\n`);
      if (backendHead.length > 0) socket.write(backendHead);
      if (head.length > 0) backend.write(head);
      copyBothWays(socket, backend).then(resolve);
    });
    upstream.end();
  });
}

/** The client's headers as they came, order and repetitions kept: X-Stream-Protocol-Version comes several times. */
function forwardedHeaders(request: IncomingMessage, host: string): string[] {
  const headers = ['Host', host];
  let length = false;
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i] as string;
    const lower = name.toLowerCase();
    // The token is for this server only; a body there is none.
    if (lower === 'host' || lower === 'authorization' || lower === 'transfer-encoding' || lower === 'expect') continue;
    if (lower === 'content-length') length = true;
    headers.push(name, lower === 'content-length' ? '0' : (request.rawHeaders[i + 1] as string));
  }
  // Without it Node would announce a chunked body.
  if (!length && request.method === 'POST') headers.push('Content-Length', '0');
  return headers;
}

function headerLines(raw: readonly string[]): string {
  let lines = '';
  for (let i = 0; i + 1 < raw.length; i += 2) lines += `${raw[i]}: ${raw[i + 1]}\r\n`;
  return lines;
}

async function relayRefusal(response: IncomingMessage, socket: Socket): Promise<void> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > 64 * 1024) break;
    chunks.push(chunk);
  }
  sendRaw(socket, {
    status: response.statusCode ?? 500,
    type: response.headers['content-type'] ?? 'text/plain; charset=utf-8',
    body: Buffer.concat(chunks),
  });
}

/**
 * Copies until both ends are closed. When the runtime ends, everything it said is delivered before the client's side is
 * closed, and what the client still sends is read and dropped meanwhile: closing with unread input would make the
 * kernel reset the connection, and the last output and the exit code would be lost. When the client is gone, the
 * runtime's side is closed: at once after an error, within seconds after a client's orderly end.
 */
function copyBothWays(client: Socket, backend: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (client.destroyed) {
      backend.destroy();
      return resolve();
    }
    client.setNoDelay(true);
    backend.setNoDelay(true);
    let open = 2;
    const closed = () => {
      if (--open === 0) resolve();
    };
    let cut: NodeJS.Timeout | undefined;
    const cutSoon = () => {
      cut ??= setTimeout(() => client.destroy(), LINGER_MS).unref();
    };
    // Neither protocol closes one direction only: a client that ended is leaving.
    client.on('end', cutSoon);
    client.on('error', () => backend.destroy());
    backend.on('error', () => client.end());
    client.on('close', () => {
      clearTimeout(cut);
      backend.destroy();
      closed();
    });
    backend.on('close', () => {
      client.end();
      client.unpipe(backend);
      client.resume();
      cutSoon();
      closed();
    });
    client.pipe(backend);
    backend.pipe(client);
  });
}
