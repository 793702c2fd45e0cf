import type { Duplex } from 'node:stream';
import { EOF, encodeData, encodeFrame, type Int64 } from './codec.ts';

/** Over so many bytes waiting for the local side the peer is told to pause (remotedialer readbuffer.go). */
const PAUSE_AT = 2 * 1024 * 1024;
/** Below so many it may go on. */
const RESUME_AT = PAUSE_AT / 8;
/** A paused peer that goes on sending is told again each time so much more came. */
const REMIND_EVERY = RESUME_AT;
/** What a queued piece costs beside its bytes, so that a flood of tiny ones is bounded too. */
const PIECE_COST = 256;
/** Largest payload sent in one frame. */
const MAX_PIECE = 64 * 1024;
/** After the peer's end, what it sent before may take so long to reach the local side. */
const FLUSH_MS = 10_000;

export interface ConnectionLink {
  /** Sends a frame; false when the websocket is backed up (the frame is sent all the same). */
  send(frame: Buffer): boolean;
  /** The bytes waiting in this connection changed by so many. */
  waiting(delta: number): void;
  /** The connection is over for the peer; its id is free. */
  ended(id: Int64): void;
}

/**
 * One tunnelled connection: a local stream spliced with frames of one id.
 *
 * Flow control has a trap. A Go peer keeps one flag for both "I paused you" and "you paused me" (back_pressure.go), so a
 * Resume in either direction clears pauses in both: when the peer resumes us it has forgotten that we paused it, and
 * when we resume the peer it will never tell us to go on. Hence: a Resume sent counts as a Resume received, and a Resume
 * received voids our own Pause, which is sent anew when more data comes.
 */
export class Connection {
  readonly id: Int64;
  readonly #local: Duplex;
  readonly #link: ConnectionLink;
  #waiting = 0;
  #peerPaused = false;
  #remindAt = 0;
  #mayNotSend = false;
  #linkFull = false;
  #over = false;
  #discarded = false;

  constructor(init: { id: Int64; local: Duplex; link: ConnectionLink }) {
    this.id = init.id;
    this.#local = init.local;
    this.#link = init.link;
    const local = this.#local;
    local.on('data', (chunk: Buffer) => this.#fromLocal(chunk));
    local.on('end', () => this.close(EOF));
    local.on('error', (error) => this.close(error.message || EOF));
    local.on('close', () => this.close(EOF));
  }

  /** Bytes that came from the peer and wait for the local side. */
  get waiting(): number {
    return this.#waiting;
  }

  /** `pauseAt`: the mark lowered by the session when all its connections together hold much. */
  fromPeer(data: Buffer, pauseAt: number = PAUSE_AT): void {
    if (this.#over || data.length === 0) return;
    // A small slice would keep its whole network buffer alive for as long as it waits.
    const piece = this.#waiting > 0 && data.length * 4 < data.buffer.byteLength ? Buffer.from(data) : data;
    const cost = piece.length + PIECE_COST;
    this.#count(cost);
    this.#local.write(piece, () => this.#written(cost));
    const mark = Math.min(pauseAt, PAUSE_AT);
    if (this.#waiting > mark && (!this.#peerPaused || this.#waiting > this.#remindAt)) {
      this.#peerPaused = true;
      this.#remindAt = this.#waiting + REMIND_EVERY;
      this.#link.send(encodeFrame({ type: 'pause', id: this.id }));
    }
  }

  pausedByPeer(): void {
    this.#mayNotSend = true;
    this.#local.pause();
  }

  resumedByPeer(): void {
    this.#peerPaused = false;
    this.#mayNotSend = false;
    this.#goOn();
  }

  /** The websocket took what it held back. */
  drained(): void {
    this.#linkFull = false;
    this.#goOn();
  }

  /** The peer ended the connection: what it sent before still reaches the local side, then that is closed. */
  endedByPeer(text: string): void {
    if (!this.#finish(text)) return;
    const local = this.#local;
    if (local.destroyed) return;
    const timer = setTimeout(() => this.#discard(), FLUSH_MS).unref();
    local.once('close', () => {
      clearTimeout(timer);
      this.#discard();
    });
    local.end(() => local.destroy());
  }

  /** Ends the connection from this side: the peer gets `text` (`EOF` if all is well) after the last data. */
  close(text: string): void {
    if (this.#finish(text)) this.#discard();
  }

  /** Ends it without a word to the peer: the session is gone. */
  abandon(): void {
    this.#over = true;
    this.#discard();
  }

  /** What still waits is thrown away; the stream's own callbacks for it may come late or never. */
  #discard(): void {
    this.#discarded = true;
    this.#local.destroy();
    this.#count(-this.#waiting);
  }

  #finish(text: string): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#local.pause();
    this.#link.send(encodeFrame({ type: 'error', id: this.id, text: text === '' ? EOF : text }));
    this.#link.ended(this.id);
    return true;
  }

  #fromLocal(chunk: Buffer): void {
    if (this.#over) return;
    let free = true;
    for (let at = 0; at < chunk.length; at += MAX_PIECE)
      free = this.#link.send(encodeData(this.id, chunk.subarray(at, at + MAX_PIECE)));
    if (free) return;
    this.#linkFull = true;
    this.#local.pause();
  }

  #goOn(): void {
    if (!this.#over && !this.#mayNotSend && !this.#linkFull) this.#local.resume();
  }

  #written(cost: number): void {
    if (this.#discarded) return;
    this.#count(-cost);
    if (this.#over || !this.#peerPaused || this.#waiting >= RESUME_AT) return;
    this.#peerPaused = false;
    this.#link.send(encodeFrame({ type: 'resume', id: this.id }));
    this.#mayNotSend = false;
    this.#goOn();
  }

  #count(delta: number): void {
    if (delta === 0) return;
    this.#waiting += delta;
    this.#link.waiting(delta);
  }
}
