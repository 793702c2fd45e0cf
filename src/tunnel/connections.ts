import type { Duplex } from 'node:stream';
import { type Clock, describeError, type Logger } from '../core/index.ts';
import { decodeFrame, encodeFrame, type Frame, type Int64 } from './codec.ts';
import { Connection, type ConnectionLink } from './connection.ts';

/** Beyond so many connections of one session further ones are refused. */
const MAX_CONNECTIONS = 1_000;
/** All connections together wait with more than this: each is paused at the small mark. */
const CROWDED = 16 * 1024 * 1024;
const CROWDED_PAUSE_AT = 256 * 1024;
/** One connection, or all together, hold so much although the peer was told to pause: the websocket is not read. */
const STALL_ONE = 8 * 1024 * 1024;
const STALL_ALL = 32 * 1024 * 1024;
/**
 * So long the websocket may stand still before the slowest connection is given up. An old server closes the session
 * when one of its own writes takes 10 s.
 */
const STALL_MS = 4_000;

/** The websocket as the table of connections sees it. */
export interface FrameTransport {
  /** Sends one binary message; false when it is backed up and `drained` will be called. */
  send(frame: Buffer): boolean;
  readonly backedUp: boolean;
  pauseReading(): void;
  resumeReading(): void;
}

/** Decides about a Connect and opens the local side; a text refuses it. */
export type OpenLocal = (proto: string, address: string) => Duplex | string;

/**
 * The connections of one session, either side of it: frames in, frames out, local streams spliced. Memory is bounded
 * even against servers that know no Pause (before remotedialer 0.3): pauses first, then TCP's own back-pressure on the
 * whole websocket for a few seconds, then the slowest connection is closed.
 */
export class Connections {
  readonly #transport: FrameTransport;
  readonly #open: OpenLocal;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #table = new Map<Int64, Connection>();
  /** Ended ones whose last bytes still wait for their local side; they count against the limits. */
  readonly #leaving = new Set<Connection>();
  readonly #link: ConnectionLink;
  #waiting = 0;
  #unstall: (() => void) | undefined;
  #usedSinceSync = false;
  /** Called each time the number of connections falls to zero. */
  onIdle: () => void = () => {};

  constructor(init: { transport: FrameTransport; open: OpenLocal; clock: Clock; log: Logger }) {
    this.#transport = init.transport;
    this.#open = init.open;
    this.#clock = init.clock;
    this.#log = init.log;
    this.#link = {
      send: (frame) => this.#transport.send(frame),
      waiting: (delta) => {
        this.#waiting += delta;
        if (delta < 0 && this.#unstall !== undefined && !this.#mustStall()) this.#endStall();
      },
      ended: (id) => this.#forget(id),
    };
  }

  get size(): number {
    return this.#table.size;
  }

  /** Bytes from the peer that wait for local sides, with a small sum per piece. */
  get waiting(): number {
    return this.#waiting;
  }

  /** True while the websocket is deliberately not read: silence then says nothing about the link. */
  get stalled(): boolean {
    return this.#unstall !== undefined;
  }

  /** Takes one websocket message. Throws `TUNNEL_FRAME` if it is no frame: the session can't go on. */
  receive(message: Buffer): void {
    const frame = decodeFrame(message);
    switch (frame.type) {
      case 'data':
        this.#data(frame);
        return;
      case 'connect':
        this.#connect(frame);
        return;
      case 'error':
        this.#table.get(frame.id)?.endedByPeer(frame.text);
        return;
      case 'pause':
        this.#table.get(frame.id)?.pausedByPeer();
        return;
      case 'resume':
        this.#table.get(frame.id)?.resumedByPeer();
        return;
      case 'sync':
        this.#sync(frame.ids);
        return;
      case 'addClient':
      case 'removeClient':
      case 'unknown':
        return; // for peers of a server, or newer than this
      default:
        frame satisfies never;
    }
  }

  /** Registers a connection this side opened; the caller sends the Connect. */
  add(id: Int64, local: Duplex): void {
    this.#table.set(id, new Connection({ id, local, link: this.#link }));
    this.#usedSinceSync = true;
  }

  /** The websocket took what it held back: local sides may be read again. */
  drained(): void {
    for (const connection of this.#table.values()) connection.drained();
  }

  /** Tells the peer which connections are alive, so that it drops all others; nothing if none was since the last time. */
  announce(): void {
    if (!this.#usedSinceSync) return;
    this.#usedSinceSync = this.#table.size > 0;
    const ids = [...this.#table.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    this.#transport.send(encodeFrame({ type: 'sync', id: 0, ids }));
  }

  /** The session is over: every local side is closed, nothing more is sent. */
  abandon(): void {
    this.#endStall();
    for (const connection of [...this.#table.values(), ...this.#leaving]) connection.abandon();
    this.#table.clear();
    this.#leaving.clear();
  }

  #connect(frame: Frame & { type: 'connect' }): void {
    this.#usedSinceSync = true;
    let local: Duplex | string;
    if (this.#table.has(frame.id)) local = 'connection id in use';
    else if (this.#table.size >= MAX_CONNECTIONS) local = 'too many connections';
    else
      try {
        local = this.#open(frame.proto, frame.address);
      } catch (error) {
        local = describeError(error);
      }
    if (typeof local !== 'string') {
      this.add(frame.id, local);
      return;
    }
    this.#log.warn('a connection through the tunnel was refused', {
      proto: frame.proto.slice(0, 16),
      address: frame.address.slice(0, 80),
      reason: local,
    });
    this.#reply({ type: 'error', id: frame.id, text: local });
  }

  #data(frame: Frame & { type: 'data' }): void {
    const connection = this.#table.get(frame.id);
    if (connection === undefined) {
      this.#reply({ type: 'error', id: frame.id, text: `connection not found client/0/${frame.id}` });
      return;
    }
    connection.fromPeer(frame.data, this.#waiting > CROWDED ? CROWDED_PAUSE_AT : undefined);
    if (this.#unstall === undefined && this.#mustStall()) this.#stall();
  }

  #sync(alive: readonly Int64[]): void {
    const ids = new Set(alive);
    for (const [id, connection] of this.#table)
      if (!ids.has(id)) {
        this.#table.delete(id);
        connection.abandon();
      }
    this.#afterLeaving();
  }

  #forget(id: Int64): void {
    const connection = this.#table.get(id);
    if (connection === undefined) return;
    this.#table.delete(id);
    if (connection.waiting > 0) this.#leaving.add(connection);
    this.#afterLeaving();
  }

  #afterLeaving(): void {
    for (const connection of this.#leaving) if (connection.waiting === 0) this.#leaving.delete(connection);
    if (this.#table.size === 0) this.onIdle();
  }

  /** Answers to frames the peer may send without end are dropped while it does not read. */
  #reply(frame: Frame): void {
    if (!this.#transport.backedUp) this.#transport.send(encodeFrame(frame));
  }

  #mustStall(): boolean {
    // Half the mark while stalled, so that it does not start and stop with each piece.
    const share = this.#unstall === undefined ? 1 : 0.5;
    if (this.#waiting > STALL_ALL * share) return true;
    if (this.#waiting <= STALL_ONE * share) return false;
    const largest = this.#largest();
    return largest !== undefined && largest.waiting > STALL_ONE * share;
  }

  #stall(): void {
    this.#transport.pauseReading();
    this.#unstall = this.#clock.after(STALL_MS, () => {
      const largest = this.#largest();
      this.#log.warn('a connection through the tunnel is not read and was closed', {
        id: String(largest?.id),
        bytes: largest?.waiting,
      });
      if (largest && this.#leaving.delete(largest)) largest.abandon();
      largest?.close('backed up reader');
      this.#endStall();
      if (this.#mustStall()) this.#stall();
    });
  }

  #endStall(): void {
    if (this.#unstall === undefined) return;
    this.#unstall();
    this.#unstall = undefined;
    this.#transport.resumeReading();
  }

  #largest(): Connection | undefined {
    let largest: Connection | undefined;
    for (const set of [this.#table.values(), this.#leaving])
      for (const connection of set) if (connection.waiting > (largest?.waiting ?? 0)) largest = connection;
    return largest;
  }
}
