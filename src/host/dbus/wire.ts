/**
 * D-Bus messages as bytes (dbus-specification, "Message Protocol"): little-endian when written, both when read. No
 * file descriptors: Node has no way to receive them.
 */

export type DBusValue = string | number | bigint | boolean | readonly DBusValue[] | Variant;

export interface Variant {
  signature: string;
  value: DBusValue;
}

export const METHOD_CALL = 1;
export const METHOD_RETURN = 2;
export const ERROR = 3;
export const SIGNAL = 4;

export interface DBusMessage {
  type: number;
  flags: number;
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  replySerial?: number;
  destination?: string;
  sender?: string;
  signature: string;
  body: readonly DBusValue[];
}

/** Ours to write and to accept; the bus allows 128 MiB. */
export const MAX_MESSAGE = 1 << 20;
const FIELDS = [
  'path',
  'interface',
  'member',
  'errorName',
  'replySerial',
  'destination',
  'sender',
  'signature',
] as const;
const FIELD_TYPES = ['o', 's', 's', 's', 'u', 's', 's', 'g'] as const;
const ALIGN: Readonly<Record<string, number>> = { y: 1, g: 1, v: 1, n: 2, q: 2, x: 8, t: 8, d: 8, '(': 8, '{': 8 };
const MAX_DEPTH = 32;

/** The message as it goes over the wire. */
export function encodeMessage(message: Omit<DBusMessage, 'flags'> & { flags?: number }): Buffer {
  const body = new Writer();
  const types = splitSignature(message.signature);
  for (const [i, type] of types.entries()) body.value(type, message.body[i] as DBusValue);
  const bytes = body.bytes();
  const head = new Writer();
  head.value('y', 'l'.charCodeAt(0));
  head.value('y', message.type);
  head.value('y', message.flags ?? 0);
  head.value('y', 1);
  head.value('u', bytes.length);
  head.value('u', message.serial);
  const fields: DBusValue[] = [];
  for (const [i, name] of FIELDS.entries()) {
    const value = message[name];
    if (value !== undefined && value !== '') fields.push([i + 1, { signature: FIELD_TYPES[i] as string, value }]);
  }
  head.value('a(yv)', fields);
  head.align(8);
  return Buffer.concat([head.bytes(), bytes]);
}

/** Length of the message that begins here; undefined while too little is there to tell. Throws if it is none of ours. */
export function messageLength(data: Buffer): number | undefined {
  if (data.length < 16) return undefined;
  const little = isLittle(data);
  const fields = little ? data.readUInt32LE(12) : data.readUInt32BE(12);
  const body = little ? data.readUInt32LE(4) : data.readUInt32BE(4);
  const total = padded(16 + fields, 8) + body;
  if (total > MAX_MESSAGE) throw new Error(`a D-Bus message of ${total} bytes`);
  return total;
}

/** Reads one whole message. Throws on bytes that are none. */
export function decodeMessage(data: Buffer): DBusMessage {
  const reader = new Reader(data, isLittle(data));
  const [, type, flags] = [reader.value('y'), reader.value('y'), reader.value('y'), reader.value('y')] as number[];
  reader.value('u');
  const serial = reader.value('u') as number;
  const message: Record<string, unknown> = { type, flags, serial, signature: '', body: [] };
  for (const [code, { value }] of reader.value('a(yv)') as [number, Variant][]) {
    const name = FIELDS[code - 1];
    if (name !== undefined) message[name] = value;
  }
  reader.align(8);
  message.body = splitSignature(String(message.signature)).map((one) => reader.value(one));
  return message as unknown as DBusMessage;
}

function isLittle(data: Buffer): boolean {
  if (data[0] === 0x6c) return true;
  if (data[0] === 0x42) return false;
  throw new Error('not a D-Bus message');
}

function padded(at: number, to: number): number {
  return Math.ceil(at / to) * to;
}

/** `sa{sv}u` → `s`, `a{sv}`, `u`. */
export function splitSignature(signature: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < signature.length; ) {
    const end = typeEnd(signature, i, 0);
    out.push(signature.slice(i, end));
    i = end;
  }
  return out;
}

function typeEnd(signature: string, at: number, depth: number): number {
  const type = signature[at];
  if (depth > MAX_DEPTH || type === undefined) throw new Error('a malformed D-Bus signature');
  if (type === 'a') return typeEnd(signature, at + 1, depth + 1);
  if (type === '(' || type === '{') {
    const close = type === '(' ? ')' : '}';
    let i = at + 1;
    // One of nothing takes no bytes: an array of them would never end.
    if (signature[i] === close) throw new Error('a malformed D-Bus signature');
    while (signature[i] !== close) i = typeEnd(signature, i, depth + 1);
    return i + 1;
  }
  if (!'ybnqiuxtdsogvh'.includes(type)) throw new Error('a malformed D-Bus signature');
  return at + 1;
}

class Writer {
  #bytes = Buffer.alloc(256);
  #at = 0;

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  align(to: number): void {
    this.#room(to);
    while (this.#at % to !== 0) this.#bytes[this.#at++] = 0;
  }

  value(type: string, value: DBusValue): void {
    this.align(ALIGN[type[0] as string] ?? 4);
    switch (type[0]) {
      case 'y':
        this.#room(1);
        this.#at = this.#bytes.writeUInt8(value as number, this.#at);
        return;
      case 'b':
      case 'u':
      case 'h':
        this.#room(4);
        this.#at = this.#bytes.writeUInt32LE(Number(value), this.#at);
        return;
      case 'i':
        this.#room(4);
        this.#at = this.#bytes.writeInt32LE(value as number, this.#at);
        return;
      case 't':
        this.#room(8);
        this.#at = this.#bytes.writeBigUInt64LE(BigInt(value as bigint), this.#at);
        return;
      case 's':
      case 'o':
        this.#text(value as string, 4);
        return;
      case 'g':
        this.#text(value as string, 1);
        return;
      case 'v': {
        const { signature, value: inner } = value as Variant;
        this.#text(signature, 1);
        this.value(signature, inner);
        return;
      }
      case '(': {
        const types = splitSignature(type.slice(1, -1));
        for (const [i, one] of types.entries()) this.value(one, (value as readonly DBusValue[])[i] as DBusValue);
        return;
      }
      case 'a': {
        const lengthAt = this.#at;
        this.value('u', 0);
        const inner = type.slice(1);
        this.align(ALIGN[inner[0] as string] ?? 4);
        const start = this.#at;
        for (const one of value as readonly DBusValue[]) this.value(inner, one);
        this.#bytes.writeUInt32LE(this.#at - start, lengthAt);
        return;
      }
      default:
        throw new Error(`no D-Bus type ${type} is written here`);
    }
  }

  #text(text: string, lengthBytes: 1 | 4): void {
    const bytes = Buffer.from(text);
    this.#room(bytes.length + 5);
    this.#at =
      lengthBytes === 1
        ? this.#bytes.writeUInt8(bytes.length, this.#at)
        : this.#bytes.writeUInt32LE(bytes.length, this.#at);
    this.#at += bytes.copy(this.#bytes, this.#at);
    this.#bytes[this.#at++] = 0;
  }

  #room(bytes: number): void {
    if (this.#at + bytes > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(Math.max(bytes, this.#bytes.length))]);
  }
}

class Reader {
  readonly #data: Buffer;
  readonly #little: boolean;
  #at = 0;

  constructor(data: Buffer, little: boolean) {
    this.#data = data;
    this.#little = little;
  }

  align(to: number): void {
    this.#at = padded(this.#at, to);
  }

  /** `depth` bounds what a chain of variants can make us do. */
  value(type: string, depth = 0): DBusValue {
    if (depth > MAX_DEPTH) throw new Error('a D-Bus value too deep');
    this.align(ALIGN[type[0] as string] ?? 4);
    const data = this.#data;
    const little = this.#little;
    switch (type[0]) {
      case 'y':
        return data.readUInt8(this.#take(1));
      case 'b':
        return this.#u32() !== 0;
      case 'u':
      case 'h':
        return this.#u32();
      case 'i': {
        const at = this.#take(4);
        return little ? data.readInt32LE(at) : data.readInt32BE(at);
      }
      case 'n':
      case 'q': {
        const at = this.#take(2);
        if (type === 'n') return little ? data.readInt16LE(at) : data.readInt16BE(at);
        return little ? data.readUInt16LE(at) : data.readUInt16BE(at);
      }
      case 'x':
      case 't': {
        const at = this.#take(8);
        if (type === 'x') return little ? data.readBigInt64LE(at) : data.readBigInt64BE(at);
        return little ? data.readBigUInt64LE(at) : data.readBigUInt64BE(at);
      }
      case 'd': {
        const at = this.#take(8);
        return little ? data.readDoubleLE(at) : data.readDoubleBE(at);
      }
      case 's':
      case 'o':
        return this.#text(this.#u32());
      case 'g':
        return this.#text(data.readUInt8(this.#take(1)));
      case 'v': {
        const signature = this.#text(data.readUInt8(this.#take(1)));
        if (splitSignature(signature).length !== 1) throw new Error('a malformed D-Bus variant');
        return { signature, value: this.value(signature, depth + 1) };
      }
      case '(':
      case '{':
        return splitSignature(type.slice(1, -1)).map((one) => this.value(one, depth + 1));
      case 'a': {
        const length = this.#u32();
        const inner = type.slice(1);
        this.align(ALIGN[inner[0] as string] ?? 4);
        const end = this.#at + length;
        if (end > data.length) throw new Error('a D-Bus array beyond its message');
        const out: DBusValue[] = [];
        while (this.#at < end) out.push(this.value(inner, depth + 1));
        return out;
      }
      default:
        throw new Error('an unknown D-Bus type');
    }
  }

  #take(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  #u32(): number {
    const at = this.#take(4);
    return this.#little ? this.#data.readUInt32LE(at) : this.#data.readUInt32BE(at);
  }

  #text(length: number): string {
    const at = this.#take(length + 1);
    if (at + length >= this.#data.length) throw new Error('a D-Bus text beyond its message');
    return this.#data.toString('utf8', at, at + length);
  }
}
