import { type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import WebSocket from 'ws';
import { AgentError, abortError, describeError, errorCode, familyOf, hostPort } from '../core/index.ts';

/** PEM texts: the roots the server is verified against and the node's client certificate. */
export interface TunnelCredentials {
  ca: string;
  cert: string;
  key: string;
}

export interface TunnelTarget {
  host: string;
  port: number;
}

/** An open websocket, paused, and the TCP socket below its TLS. */
export interface TunnelSocket {
  websocket: WebSocket;
  tcp: Socket;
  /** The TLS stream: what is written to the websocket waits here. */
  stream: Socket;
}

/** Name look-up, TCP, TLS and the upgrade together. */
const HANDSHAKE_MS = 10_000;
/** Servers send at most 32 KiB a message; nothing in the protocol says so. */
const MAX_MESSAGE = 4 * 1024 * 1024;

/**
 * Opens the websocket of a tunnel: `wss://host:port/v1-k3s/connect`, HTTP/1.1, no subprotocol, identity by client
 * certificate only, never through a proxy (k3s pkg/agent/tunnel/tunnel.go). Throws `TUNNEL_REFUSED` (an HTTP answer),
 * `TUNNEL_TLS`, `TUNNEL_TIMEOUT` or `TUNNEL_UNREACHABLE`.
 */
export function dialTunnel(
  target: TunnelTarget,
  credentials: TunnelCredentials,
  signal: AbortSignal,
): Promise<TunnelSocket> {
  const { host, port } = target;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortError());
    const tcp = tcpConnect({ host, port, noDelay: true });
    // Errors of the raw socket also reach the TLS stream; without a listener here they would end the process.
    tcp.on('error', () => {});
    const stream = tlsConnect({
      socket: tcp,
      host,
      ...(familyOf(host) === undefined ? { servername: host } : {}),
      ...credentials,
      ALPNProtocols: ['http/1.1'],
    });
    const websocket = new WebSocket(`wss://${hostPort(host, port)}/v1-k3s/connect`, {
      createConnection: () => stream,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE,
      skipUTF8Validation: true,
      // Masks guard plain-text proxies against chosen bytes; inside TLS a zero mask spares a pass over all data.
      generateMask: (mask) => mask.fill(0),
    });
    const settle = (error?: Error) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      websocket.off('error', onError);
      websocket.on('error', () => {});
      if (error === undefined) return resolve({ websocket, tcp, stream });
      websocket.terminate();
      tcp.destroy();
      reject(error);
    };
    const onAbort = () => settle(abortError());
    const onError = (cause: Error) => settle(dialError(target, cause));
    const timer = setTimeout(
      () =>
        settle(
          new AgentError({
            code: 'TUNNEL_TIMEOUT',
            message: `no tunnel to ${hostPort(host, port)} within ${HANDSHAKE_MS / 1000} s`,
          }),
        ),
      HANDSHAKE_MS,
    );
    signal.addEventListener('abort', onAbort, { once: true });
    websocket.on('error', onError);
    websocket.on('open', () => {
      websocket.pause(); // until a session listens: the server may have spoken already
      settle();
    });
    websocket.on('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      const done = () => settle(refusal(target, response.statusCode ?? 0, Buffer.concat(chunks).toString()));
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size < 4096) chunks.push(chunk);
        else done();
      });
      response.on('end', done);
      response.on('error', done);
    });
  });
}

function refusal(target: TunnelTarget, status: number, body: string): AgentError {
  const known = status === 401 || status === 403;
  return new AgentError({
    code: 'TUNNEL_REFUSED',
    message: `the server ${hostPort(target.host, target.port)} refused the tunnel with ${status}${body.trim() === '' ? '' : `: ${body.trim().slice(0, 200)}`}`,
    ...(known
      ? {
          remedy:
            'the server does not accept this node’s client certificate; if the Node object was deleted, restart the agent so that it joins anew',
        }
      : {}),
  });
}

function dialError(target: TunnelTarget, cause: Error): AgentError {
  const code = errorCode(cause) ?? '';
  const tls = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)/.test(code);
  return new AgentError({
    code: tls ? 'TUNNEL_TLS' : 'TUNNEL_UNREACHABLE',
    message: `no tunnel to ${hostPort(target.host, target.port)}: ${describeError(cause)}`,
    cause,
  });
}
