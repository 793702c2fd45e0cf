import type { IncomingMessage } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Logger, silentLogger, systemClock } from '../../src/core/index.ts';
import { Connections, decodeFrame, encodeFrame } from '../../src/tunnel/index.ts';

/**
 * The server side of the tunnel as k3s has it (pkg/daemons/control/tunnel.go, rancher/remotedialer server.go): sessions
 * by the client certificate's `system:node:<name>`, several per node, the oldest one dials.
 */
export interface RemotedialerServer {
  /**
   * For an HTTPS server's `upgrade` event on `/v1-k3s/connect`. Answers 401 without a node's certificate, closes the
   * socket on a bad handshake.
   */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /**
   * A connection to `address` (`127.0.0.1:10250`) as seen from the node. As in the original it never says that the dial
   * worked: a failed one shows as an end or error of the stream. Throws if the node has no session.
   */
  dial(nodeName: string, proto: string, address: string): Duplex;
  hasSession(nodeName: string): boolean;
  /** Node names with at least one session. */
  nodes(): string[];
  /** Sessions of a node, oldest first. */
  sessions(nodeName: string): number;
  /** Calls `fn` when a node's first session opens (true) and its last one closes (false). */
  onChange(fn: (nodeName: string, connected: boolean) => void): void;
  /** Ends all sessions (or those of one node), as a server that goes away does. */
  closeAll(nodeName?: string): void;
}

export interface RemotedialerServerOptions {
  log?: Logger;
  /** The session ends so long after the last ping or pong; 60 s as new servers, 10 s as 1.21. */
  pingWaitMs?: number;
  /** As 1.21: Pause, Resume and SyncConnections are neither sent nor understood. */
  old?: boolean;
  /** Who the client is; by default the CN of its verified certificate after `system:node:`. */
  nodeOf?: (request: IncomingMessage) => string | undefined;
}

interface ServerSession {
  websocket: WebSocket;
  connections: Connections;
  nextId: number;
}

export function createRemotedialerServer(options: RemotedialerServerOptions = {}): RemotedialerServer {
  const { log = silentLogger, pingWaitMs = 60_000, nodeOf = nodeOfCertificate, old = false } = options;
  const upgrader = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 8 * 1024 * 1024 });
  const byNode = new Map<string, ServerSession[]>();
  const listeners: ((nodeName: string, connected: boolean) => void)[] = [];

  const serve = (node: string, websocket: WebSocket, stream: Duplex) => {
    const connections = new Connections({
      clock: systemClock,
      log,
      open: () => 'connect not allowed',
      transport: {
        send(frame) {
          if (old && ['pause', 'resume'].includes(decodeFrame(frame).type)) return true;
          if (websocket.readyState === websocket.OPEN) websocket.send(frame, { binary: true });
          return !stream.writableNeedDrain;
        },
        get backedUp() {
          return stream.writableNeedDrain;
        },
        pauseReading: () => websocket.pause(),
        resumeReading: () => websocket.resume(),
      },
    });
    stream.on('drain', () => connections.drained());
    const session: ServerSession = { websocket, connections, nextId: 1 };
    const sessions = byNode.get(node) ?? [];
    byNode.set(node, [...sessions, session]);
    if (sessions.length === 0) for (const fn of listeners) fn(node, true);
    const deadline = setTimeout(() => websocket.terminate(), pingWaitMs).unref();
    websocket.on('ping', () => deadline.refresh());
    websocket.on('pong', () => deadline.refresh());
    websocket.on('error', () => websocket.terminate());
    websocket.on('message', (data, binary) => {
      try {
        if (!binary) throw new Error('wrong message type');
        if (old && ['pause', 'resume', 'sync'].includes(decodeFrame(data as Buffer).type)) return;
        connections.receive(data as Buffer);
      } catch {
        websocket.terminate();
      }
    });
    websocket.on('close', () => {
      clearTimeout(deadline);
      connections.abandon();
      const left = (byNode.get(node) ?? []).filter((s) => s !== session);
      if (left.length > 0) byNode.set(node, left);
      else {
        byNode.delete(node);
        for (const fn of listeners) fn(node, false);
      }
    });
  };

  return {
    handleUpgrade(request, socket, head) {
      const node = nodeOf(request);
      if (node === undefined) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 21\r\n\r\nfailed authentication');
        return;
      }
      upgrader.handleUpgrade(request, socket, head, (websocket) => serve(node, websocket, socket));
    },
    dial(nodeName, proto, address) {
      const session = byNode.get(nodeName)?.[0];
      if (session === undefined) throw new Error(`failed to find Session for client ${nodeName}`);
      const [ours, theirs] = duplexPair();
      const id = ++session.nextId;
      session.connections.add(id, theirs);
      session.websocket.send(encodeFrame({ type: 'connect', id, proto, address }), { binary: true });
      return ours;
    },
    hasSession: (nodeName) => byNode.has(nodeName),
    nodes: () => [...byNode.keys()],
    sessions: (nodeName) => byNode.get(nodeName)?.length ?? 0,
    onChange: (fn) => void listeners.push(fn),
    closeAll(nodeName) {
      for (const [node, sessions] of byNode)
        if (nodeName === undefined || node === nodeName) for (const s of sessions) s.websocket.terminate();
    },
  };
}

function nodeOfCertificate(request: IncomingMessage): string | undefined {
  const socket = request.socket as TLSSocket;
  if (typeof socket.getPeerCertificate !== 'function' || !socket.authorized) return undefined;
  const name = [socket.getPeerCertificate()?.subject?.CN].flat()[0];
  return name?.startsWith('system:node:') ? name.slice('system:node:'.length) : undefined;
}
