import { AgentError } from '../core/index.ts';

/**
 * Remotedialer messages: bytes <-> values, no sockets (rancher/remotedialer message.go). One websocket message holds one
 * frame: varint message id, varint connection id, varint type, for Data and Connect a varint deadline nobody reads any
 * more, then the payload up to the message's end. Varints are Go's signed ones: zig-zag, base 128, at most 10 bytes.
 */

/** An int64: a number where it is exact, else a bigint, so that equal ids are equal Map keys. */
export type Int64 = number | bigint;

export type Frame =
  | { type: 'data'; id: Int64; data: Buffer }
  | { type: 'connect'; id: Int64; proto: string; address: string }
  | { type: 'error'; id: Int64; text: string }
  | { type: 'addClient'; id: Int64; client: string }
  | { type: 'removeClient'; id: Int64; client: string }
  | { type: 'pause'; id: Int64 }
  | { type: 'resume'; id: Int64 }
  | { type: 'sync'; id: Int64; ids: Int64[] }
  | { type: 'unknown'; id: Int64; number: Int64 };

const TYPE_NUMBER = {
  data: 1,
  connect: 2,
  error: 3,
  addClient: 4,
  removeClient: 5,
  pause: 6,
  resume: 7,
  sync: 8,
} as const;

/** What the Error text of an orderly end is. */
export const EOF = 'EOF';
/** Peers read no more of an Error's text (message.go). */
const MAX_ERROR = 100;
const MAX_CONNECT = 266;
const MAX_CLIENT = 100;
/** Written by every peer since the field lost its meaning, in milliseconds. */
const LEGACY_DEADLINE = 15_000;
const MAX_VARINT = 10;

/** Decodes one frame; `data` shares memory with `bytes`. Throws `TUNNEL_FRAME` if the bytes are no frame. */
export function decodeFrame(bytes: Buffer): Frame {
  const cursor = { at: 0 };
  skipVarint(bytes, cursor);
  const id = readVarint(bytes, cursor);
  const number = readVarint(bytes, cursor);
  switch (number) {
    case TYPE_NUMBER.data:
      skipVarint(bytes, cursor);
      return { type: 'data', id, data: bytes.subarray(cursor.at) };
    case TYPE_NUMBER.connect: {
      skipVarint(bytes, cursor);
      const text = bytes.toString('utf8', cursor.at, Math.min(bytes.length, cursor.at + MAX_CONNECT));
      const slash = text.indexOf('/');
      if (slash < 0) throw malformed('a Connect without protocol and address');
      return { type: 'connect', id, proto: text.slice(0, slash), address: text.slice(slash + 1) };
    }
    case TYPE_NUMBER.error:
      return { type: 'error', id, text: tail(bytes, cursor.at, MAX_ERROR) };
    case TYPE_NUMBER.addClient:
      return { type: 'addClient', id, client: tail(bytes, cursor.at, MAX_CLIENT) };
    case TYPE_NUMBER.removeClient: {
      const client = tail(bytes, cursor.at, MAX_CLIENT);
      if (!/^[^/]*\/[+-]?\d+$/.test(client)) throw malformed('a RemoveClient that names no session');
      return { type: 'removeClient', id, client };
    }
    case TYPE_NUMBER.pause:
      return { type: 'pause', id };
    case TYPE_NUMBER.resume:
      return { type: 'resume', id };
    case TYPE_NUMBER.sync: {
      const rest = bytes.length - cursor.at;
      if (rest % 8 !== 0) throw malformed('a SyncConnections of broken length');
      const ids: Int64[] = [];
      for (let at = cursor.at; at < bytes.length; at += 8) ids.push(normal(bytes.readBigInt64LE(at)));
      return { type: 'sync', id, ids };
    }
    default:
      return { type: 'unknown', id, number };
  }
}

let lastMessageId = 0;

/** Encodes one frame under the next message id, or under the one given. */
export function encodeFrame(frame: Frame, messageId: Int64 = nextMessageId()): Buffer {
  switch (frame.type) {
    case 'data':
      return encodeData(frame.id, frame.data, messageId);
    case 'connect':
      return assemble(messageId, frame.id, TYPE_NUMBER.connect, Buffer.from(`${frame.proto}/${frame.address}`));
    case 'error':
      return assemble(messageId, frame.id, TYPE_NUMBER.error, cut(frame.text, MAX_ERROR));
    case 'addClient':
    case 'removeClient':
      return assemble(messageId, frame.id, TYPE_NUMBER[frame.type], Buffer.from(frame.client));
    case 'pause':
    case 'resume':
      return assemble(messageId, frame.id, TYPE_NUMBER[frame.type], EMPTY);
    case 'sync': {
      const body = Buffer.allocUnsafe(8 * frame.ids.length);
      frame.ids.forEach((id, i) => {
        body.writeBigInt64LE(BigInt(id), 8 * i);
      });
      return assemble(messageId, frame.id, TYPE_NUMBER.sync, body);
    }
    case 'unknown':
      return assemble(messageId, frame.id, frame.number, EMPTY);
    default:
      return frame satisfies never;
  }
}

/** The hot path: one allocation and one copy of the payload. */
export function encodeData(id: Int64, data: Uint8Array, messageId: Int64 = nextMessageId()): Buffer {
  return assemble(messageId, id, TYPE_NUMBER.data, data);
}

const EMPTY = Buffer.alloc(0);

/** Message ids only have to differ; from 1 they stay short on the wire for the first million messages. */
function nextMessageId(): number {
  lastMessageId = lastMessageId >= Number.MAX_SAFE_INTEGER ? 1 : lastMessageId + 1;
  return lastMessageId;
}

function assemble(messageId: Int64, id: Int64, number: Int64, body: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(4 * MAX_VARINT + body.length);
  let at = writeVarint(out, 0, messageId);
  at = writeVarint(out, at, id);
  at = writeVarint(out, at, number);
  if (number === TYPE_NUMBER.data || number === TYPE_NUMBER.connect) at = writeVarint(out, at, LEGACY_DEADLINE);
  out.set(body, at);
  return out.subarray(0, at + body.length);
}

function skipVarint(bytes: Buffer, cursor: { at: number }): void {
  for (let i = 0; i < MAX_VARINT; i++) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) throw malformed('a frame that ends too early');
    if (byte < 0x80) {
      if (i === MAX_VARINT - 1 && byte > 1) break;
      return;
    }
  }
  throw malformed('a number beyond 64 bits');
}

/** Exported for the codec's tests. */
function readVarint(bytes: Buffer, cursor: { at: number }): Int64 {
  // Four groups (28 bits) stay inside the integers V8 keeps unboxed: every real id and type takes this way.
  let value = 0;
  const start = cursor.at;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[cursor.at++];
    if (byte === undefined) throw malformed('a frame that ends too early');
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return value & 1 ? -(value >>> 1) - 1 : value >>> 1;
  }
  cursor.at = start;
  skipVarint(bytes, cursor);
  let wide = 0n;
  for (let at = cursor.at - 1; at >= start; at--) wide = (wide << 7n) | BigInt((bytes[at] as number) & 0x7f);
  return normal(wide & 1n ? -(wide >> 1n) - 1n : wide >> 1n);
}

/** Exported for the codec's tests. Returns the place after the number. */
function writeVarint(out: Buffer, at: number, value: Int64): number {
  if (typeof value === 'number' && value >= 0 && value < 0x3fffffff) {
    let rest = value << 1;
    while (rest >= 0x80) {
      out[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    out[at++] = rest;
    return at;
  }
  const wide = BigInt(value);
  let rest = BigInt.asUintN(64, wide < 0n ? (-wide - 1n) * 2n + 1n : wide * 2n);
  while (rest >= 0x80n) {
    out[at++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  out[at++] = Number(rest);
  return at;
}

function normal(value: bigint): Int64 {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function tail(bytes: Buffer, from: number, max: number): string {
  return bytes.toString('utf8', from, Math.min(bytes.length, from + max));
}

/** At most `max` bytes of a text, not splitting a character. */
function cut(text: string, max: number): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length <= max) return bytes;
  let end = max;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

function malformed(what: string): AgentError {
  return new AgentError({ code: 'TUNNEL_FRAME', message: `the server sent ${what}` });
}
