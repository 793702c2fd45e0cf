import type { RawData } from 'ws';
import { AgentError, type Clock, describeError, hostPort, type Logger } from '../core/index.ts';
import { Connections, type OpenLocal } from './connections.ts';
import type { TunnelSocket, TunnelTarget } from './dial.ts';

/**
 * Servers before remotedialer 0.3 (k3s 1.21) drop a session 10 s after its last ping, newer ones after 60 s; nothing in
 * the handshake tells them apart, and the deadline below needs the pongs anyway.
 */
const PING_MS = 5_000;
/** Nothing heard for so long: the session is dead. With a ping each 5 s that is noticed within 15 s of a cable's pull. */
const SILENT_MS = 14_000;
const ANNOUNCE_MS = 60_000;

export interface SessionOptions {
  target: TunnelTarget;
  socket: TunnelSocket;
  open: OpenLocal;
  clock: Clock;
  log: Logger;
}

/**
 * How a session ended. `TUNNEL_SILENT`: nothing heard in time; the TCP connection is kept so that `reset` can tell the
 * server, see {@link Session}. `TUNNEL_CLOSED`: by the server. `TUNNEL_STOPPED`: by `close`.
 */
export interface SessionEnd {
  error: AgentError;
  /** Only after `TUNNEL_SILENT`. */
  silent?: SilentSocket;
}

/** The socket of a session that fell silent: `reset` sends a RST and frees it. */
export interface SilentSocket {
  /** This side's address, undefined if the kernel does not tell it any more. */
  localAddress: string | undefined;
  reset(): void;
}

/**
 * One open websocket: frames to connections, pings, the liveness deadline.
 *
 * A server keeps every session of a node and dials through the oldest. After a cut it would go on using the dead one
 * for up to a minute, since a FIN sent into the cut is repeated only with TCP's long pauses. So a session that fell
 * silent keeps its socket until the way is back; then a RST makes the server forget it at once. (A server that lost
 * bytes meanwhile answers the RST with a challenge ACK, and the kernel's answer to that is the exact RST it wants.)
 */
export class Session {
  readonly connections: Connections;
  readonly openedAt: number;
  /** This side's address of the TCP connection. */
  readonly localAddress: string | undefined;
  /** Resolves once, however the session ends. */
  readonly ended: Promise<SessionEnd>;
  readonly #options: SessionOptions;
  #resolve: (end: SessionEnd) => void = () => {};
  #over = false;
  #lastHeard: number;
  #lastTick: number;
  #announceAt: number;
  #timer: NodeJS.Timeout;
  #probe: (() => void) | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { clock, socket, open, log } = options;
    const { websocket, stream } = socket;
    this.openedAt = clock.now();
    this.localAddress = socket.tcp.localAddress;
    this.#lastHeard = this.#lastTick = clock.monotonic();
    this.#announceAt = this.#lastTick + ANNOUNCE_MS;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.connections = new Connections({
      open,
      clock,
      log,
      transport: {
        send(frame) {
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
    websocket.on('message', (data: RawData, binary: boolean) => this.#message(data as Buffer, binary));
    websocket.on('pong', () => this.#heard());
    websocket.on('ping', () => this.#heard());
    websocket.on('close', (code, reason) => {
      const why = reason.length > 0 ? reason.toString() : `code ${code}`;
      this.#end('TUNNEL_CLOSED', `the server closed the tunnel (${why})`);
    });
    websocket.on('error', (error) => this.#end('TUNNEL_CLOSED', `the tunnel broke: ${describeError(error)}`));
    // What waited was taken by the kernel, which had no room before: the other side acknowledged something.
    stream.on('drain', () => {
      this.#heard();
      this.connections.drained();
    });
    websocket.resume();
    this.#timer = setInterval(() => this.#tick(), PING_MS).unref();
  }

  /** Asks for a sign of life now; the session ends if there is none within `ms`. */
  probe(ms: number): void {
    if (this.#over || this.#probe !== undefined) return;
    this.#ping();
    this.#probe = this.#expect(ms);
  }

  /** The session can't live on: the address it was made from is gone. */
  addressLost(): void {
    this.#silent(`this board no longer has the address ${this.localAddress}`);
  }

  /** Ends the session and all its connections. */
  close(why: string): void {
    this.#end('TUNNEL_STOPPED', why);
  }

  #message(data: Buffer, binary: boolean): void {
    if (this.#over) return;
    this.#heard();
    try {
      if (!binary) throw new AgentError({ code: 'TUNNEL_FRAME', message: 'the server sent a text message' });
      this.connections.receive(data);
    } catch (error) {
      this.#end('TUNNEL_CLOSED', `the tunnel was closed: ${describeError(error)}`);
    }
  }

  #heard(): void {
    this.#lastHeard = this.#options.clock.monotonic();
    this.#probe?.();
    this.#probe = undefined;
  }

  #tick(): void {
    const now = this.#options.clock.monotonic();
    // A process that did not run (overload, SIGSTOP) has not listened either: that time does not count.
    const late = now - this.#lastTick - PING_MS;
    this.#lastTick = now;
    if (late > PING_MS) this.#lastHeard += late;
    if (this.connections.stalled) this.#lastHeard = now;
    const silence = now - this.#lastHeard;
    // Two pings went unanswered: the deadline lies between this tick and the one after next.
    if (silence > 1.5 * PING_MS) this.#probe ??= this.#expect(Math.max(0, SILENT_MS - silence));
    this.#ping();
    if (now < this.#announceAt) return;
    this.#announceAt = now + ANNOUNCE_MS;
    this.connections.announce();
  }

  /** The session is dead if nothing is heard within `ms`; returns what calls that off. */
  #expect(ms: number): () => void {
    return this.#options.clock.after(ms, () => {
      this.#probe = undefined;
      if (this.connections.stalled) return;
      this.#silent();
    });
  }

  #ping(): void {
    const { websocket, stream } = this.#options.socket;
    // While the socket is backed up, its draining is the sign of life, and pings would pile up behind the data.
    if (websocket.readyState === websocket.OPEN && !stream.writableNeedDrain) websocket.ping();
  }

  #silent(why?: string): void {
    const { clock, target, socket } = this.#options;
    const { websocket, tcp, stream } = socket;
    if (this.#over) return;
    stream.pause();
    const reset = () => {
      if (!tcp.destroyed) tcp.resetAndDestroy();
      stream.destroy();
      websocket.terminate();
    };
    const seconds = Math.round((clock.monotonic() - this.#lastHeard) / 1000);
    this.#finish({
      error: new AgentError({
        code: 'TUNNEL_SILENT',
        message: why ?? `nothing heard from ${hostPort(target.host, target.port)} for ${seconds} s`,
        remedy: 'check the network between this board and the server',
      }),
      silent: { localAddress: this.localAddress, reset },
    });
  }

  #end(code: string, message: string): void {
    if (this.#over) return;
    this.#finish({ error: new AgentError({ code, message }) });
    this.#options.socket.websocket.terminate();
  }

  #finish(end: SessionEnd): void {
    this.#over = true;
    clearInterval(this.#timer);
    this.#probe?.();
    this.#probe = undefined;
    this.connections.abandon();
    this.#resolve(end);
  }
}
