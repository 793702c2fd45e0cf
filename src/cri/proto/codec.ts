/**
 * Protobuf (proto3) on tables. A message is one line of text, `field=number:type`, parsed at its first use; the codec
 * below reads and writes plain objects by it. Why not a library: the agent speaks some seventy small messages, and on
 * top of Node + grpc-js (62 MB resident; measured on x64, bundled, all messages used once) this costs 0.7 MB and 6 ms,
 * protobufjs light with a JSON descriptor 17 MB and 85 ms, and code generated for protobufjs more than 10 MB and 18 ms
 * (that much for its runtime alone).
 *
 * Types: `string` (when none is named), `bool`, `bytes`, `int32`, `uint32`, `int64`, `uint64` (as numbers: what is over
 * 2^53 loses its last digits), `map` (string to string), `value` (a wrapper message with one number in field 1, seen as
 * that number), an enum's or a message's name. `[]` after it: repeated. `!`: a message that is filled with zero values
 * when the other side left it out.
 *
 * Reading gives every scalar, list and map its zero value when absent and leaves absent messages undefined. Unknown
 * fields are skipped; an unknown enum number becomes the enum's fallback. Broken input throws {@link WireError}, never
 * anything else, and what is built is bounded by the input's size and {@link MAX_MESSAGES}.
 */
export interface SchemaText {
  /** Names by number; `fallback` stands for numbers this list does not know. */
  enums: Readonly<Record<string, { readonly names: readonly string[]; readonly fallback: string }>>;
  messages: Readonly<Record<string, string>>;
}

export interface Schema extends SchemaText {
  readonly parsed: Map<string, Message>;
}

export class WireError extends Error {
  override readonly name = 'WireError';
}

interface Field {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly repeated: boolean;
  readonly required: boolean;
  readonly kind: 'varint' | 'bool' | 'string' | 'bytes' | 'map' | 'value' | 'enum' | 'message';
}

interface Message {
  readonly fields: readonly Field[];
  readonly byNumber: ReadonlyMap<number, Field>;
}

type Values = Record<string, unknown>;

const MAX_DEPTH = 24;
/** Messages inside one decoded message: an empty one costs the sender 2 bytes and us a hundred. */
const MAX_MESSAGES = 250_000;

export function defineSchema(text: SchemaText): Schema {
  return { ...text, parsed: new Map() };
}

function messageOf(schema: Schema, name: string): Message {
  const known = schema.parsed.get(name);
  if (known) return known;
  const text = schema.messages[name];
  if (text === undefined) throw new Error(`no message ${name} in the schema`);
  const fields = text.split(/\s+/).flatMap((word): Field[] => {
    const m = /^(\w+)=(\d+)(?::(\w+)(\[\])?(!)?)?$/.exec(word);
    if (!m) {
      if (word === '') return [];
      throw new Error(`bad field ${word} of ${name}`);
    }
    const type = m[3] ?? 'string';
    const field = { name: m[1] as string, number: Number(m[2]), type, repeated: m[4] !== undefined };
    return [{ ...field, required: m[5] !== undefined, kind: kindOf(schema, type) }];
  });
  const message = { fields, byNumber: new Map(fields.map((f) => [f.number, f])) };
  schema.parsed.set(name, message);
  return message;
}

function kindOf(schema: Schema, type: string): Field['kind'] {
  if (['string', 'bytes', 'bool', 'map', 'value'].includes(type)) return type as Field['kind'];
  if (['int32', 'uint32', 'int64', 'uint64'].includes(type)) return 'varint';
  if (schema.enums[type]) return 'enum';
  if (schema.messages[type] !== undefined) return 'message';
  throw new Error(`unknown type ${type}`);
}

/** The message's bytes. Undefined and zero values are left out, as proto3 does. */
export function encode(schema: Schema, name: string, value: object): Buffer {
  const writer = new Writer();
  writeMessage(writer, schema, name, value as Values);
  return writer.finish();
}

/** Reads a message; see above for what absent and unknown fields become. Throws {@link WireError}. */
export function decode(schema: Schema, name: string, bytes: Uint8Array): unknown {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Reader(schema, buffer).message(name, 0, buffer.length, 0);
}

function writeMessage(w: Writer, schema: Schema, name: string, value: Values): void {
  for (const field of messageOf(schema, name).fields) {
    const v = value[field.name];
    if (v === undefined || v === null) continue;
    if (field.kind === 'map') {
      for (const [key, item] of Object.entries(v as Values))
        w.nested(field.number, () => {
          w.text(1, key);
          w.text(2, String(item));
        });
    } else if (!field.repeated) writeOne(w, schema, field, v, true);
    else if (field.kind === 'varint') {
      const list = v as number[];
      if (list.length > 0) w.nested(field.number, () => list.forEach((n) => void w.varint(n)));
    } else for (const item of v as unknown[]) writeOne(w, schema, field, item, false);
  }
}

function writeOne(w: Writer, schema: Schema, field: Field, v: unknown, omitZero: boolean): void {
  const { number } = field;
  switch (field.kind) {
    case 'varint':
      w.number(number, Number(v), omitZero);
      break;
    case 'bool':
      w.number(number, v ? 1 : 0, omitZero);
      break;
    case 'enum':
      w.number(number, enumNumber(schema, field.type, String(v)), omitZero);
      break;
    case 'string':
      if (v !== '' || !omitZero) w.text(number, String(v));
      break;
    case 'bytes':
      if ((v as Uint8Array).length > 0 || !omitZero) w.bytes(number, v as Uint8Array);
      break;
    case 'value':
      w.nested(number, () => w.number(1, Number(v), true));
      break;
    case 'message':
      w.nested(number, () => writeMessage(w, schema, field.type, v as Values));
      break;
    case 'map':
      break; // written entry by entry above
  }
}

function enumNumber(schema: Schema, type: string, name: string): number {
  return Math.max(0, schema.enums[type]?.names.indexOf(name) ?? 0);
}

const TWO32 = 2 ** 32;

class Writer {
  #buffer = Buffer.allocUnsafe(512);
  #at = 0;

  finish(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#at));
  }

  #room(size: number): void {
    if (this.#at + size <= this.#buffer.length) return;
    const bigger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + size));
    this.#buffer.copy(bigger, 0, 0, this.#at);
    this.#buffer = bigger;
  }

  /** A whole number as 64-bit two's complement: negative ones take ten bytes, as protobuf has it. */
  varint(n: number): void {
    this.#room(10);
    const whole = Number.isFinite(n) ? Math.trunc(n) : 0;
    let high = Math.floor(whole / TWO32) >>> 0;
    let low = whole >>> 0;
    if (!Number.isSafeInteger(whole)) {
      const exact = BigInt.asUintN(64, BigInt(whole));
      high = Number(exact >> 32n);
      low = Number(exact & 0xffffffffn);
    }
    while (high !== 0 || low > 0x7f) {
      this.#buffer[this.#at++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#buffer[this.#at++] = low;
  }

  number(field: number, n: number, omitZero: boolean): void {
    if (omitZero && n === 0) return;
    this.varint(field * 8);
    this.varint(n);
  }

  text(field: number, text: string): void {
    const size = Buffer.byteLength(text);
    this.varint(field * 8 + 2);
    this.varint(size);
    this.#room(size);
    this.#at += this.#buffer.write(text, this.#at);
  }

  bytes(field: number, bytes: Uint8Array): void {
    this.varint(field * 8 + 2);
    this.varint(bytes.length);
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** One byte is kept for the length; a longer content is moved on by what its length needs more. */
  nested(field: number, body: () => void): void {
    this.varint(field * 8 + 2);
    this.#room(1);
    const start = ++this.#at;
    body();
    const size = this.#at - start;
    const lengthBytes = size < 0x80 ? 1 : size < 0x4000 ? 2 : size < 0x200000 ? 3 : size < 0x10000000 ? 4 : 5;
    if (lengthBytes > 1) {
      this.#room(lengthBytes);
      this.#buffer.copyWithin(start + lengthBytes - 1, start, this.#at);
    }
    this.#at = start - 1;
    this.varint(size);
    this.#at += size;
  }
}

class Reader {
  #at = 0;
  #messages = 0;
  readonly #schema: Schema;
  readonly #buffer: Buffer;

  constructor(schema: Schema, buffer: Buffer) {
    this.#schema = schema;
    this.#buffer = buffer;
  }

  message(name: string, start: number, end: number, depth: number): Values {
    if (depth > MAX_DEPTH) throw new WireError('message nested too deep');
    if (++this.#messages > MAX_MESSAGES) throw new WireError('message has too many parts');
    const message = messageOf(this.#schema, name);
    const out: Values = {};
    for (const field of message.fields) out[field.name] = this.#zero(field);
    this.#at = start;
    while (this.#at < end) {
      const key = this.#varint(end, false);
      const field = message.byNumber.get(Math.floor(key / 8));
      const wire = key % 8;
      if (field === undefined) this.#skip(wire, end);
      else this.#field(out, field, wire, end, depth);
    }
    for (const field of message.fields)
      if (field.required && out[field.name] === undefined)
        out[field.name] = this.message(field.type, end, end, depth + 1);
    this.#at = end;
    return out;
  }

  #zero(field: Field): unknown {
    if (field.repeated) return [];
    switch (field.kind) {
      case 'varint':
        return 0;
      case 'bool':
        return false;
      case 'string':
        return '';
      case 'bytes':
        return Buffer.alloc(0);
      case 'map':
        return {};
      case 'enum':
        return this.#schema.enums[field.type]?.names[0];
      default:
        return undefined;
    }
  }

  #field(out: Values, field: Field, wire: number, end: number, depth: number): void {
    const numeric = field.kind === 'varint' || field.kind === 'bool' || field.kind === 'enum';
    if (wire === 0 && numeric) {
      const value = this.#scalar(field, end);
      if (field.repeated) (out[field.name] as unknown[]).push(value);
      else out[field.name] = value;
      return;
    }
    if (wire !== 2 || (numeric && !field.repeated)) {
      this.#skip(wire, end);
      return;
    }
    const size = this.#varint(end, false);
    const stop = this.#at + size;
    if (stop > end) throw new WireError('message is cut short');
    if (numeric) {
      while (this.#at < stop) (out[field.name] as unknown[]).push(this.#scalar(field, stop));
      return;
    }
    const start = this.#at;
    if (field.kind === 'map') this.#entry(out[field.name] as Values, start, stop);
    else {
      const value = this.#sized(field, start, stop, depth);
      if (field.repeated) (out[field.name] as unknown[]).push(value);
      else out[field.name] = value;
    }
    this.#at = stop;
  }

  #scalar(field: Field, end: number): unknown {
    if (field.kind === 'enum') {
      const known = this.#schema.enums[field.type];
      return known?.names[this.#varint(end, false)] ?? known?.fallback;
    }
    if (field.kind === 'bool') return this.#varint(end, false) !== 0;
    const n = this.#varint(end, field.type === 'int64' || field.type === 'int32');
    return field.type === 'int32' ? n | 0 : field.type === 'uint32' ? n >>> 0 : n;
  }

  #sized(field: Field, start: number, stop: number, depth: number): unknown {
    switch (field.kind) {
      case 'string':
        return this.#buffer.toString('utf8', start, stop);
      case 'bytes':
        return this.#buffer.subarray(start, stop);
      case 'value': {
        let value = 0;
        while (this.#at < stop) {
          const key = this.#varint(stop, false);
          if (key === 8) value = this.#varint(stop, true);
          else this.#skip(key % 8, stop);
        }
        return value;
      }
      default:
        return this.message(field.type, start, stop, depth + 1);
    }
  }

  #entry(map: Values, start: number, stop: number): void {
    this.#at = start;
    let key = '';
    let value = '';
    while (this.#at < stop) {
      const tag = this.#varint(stop, false);
      if (tag !== 10 && tag !== 18) {
        this.#skip(tag % 8, stop);
        continue;
      }
      const size = this.#varint(stop, false);
      if (this.#at + size > stop) throw new WireError('map entry is cut short');
      const text = this.#buffer.toString('utf8', this.#at, this.#at + size);
      this.#at += size;
      if (tag === 10) key = text;
      else value = text;
    }
    // A plain assignment would lose a key of this name.
    if (key === '__proto__')
      Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
    else map[key] = value;
  }

  #varint(end: number, signed: boolean): number {
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.#at >= end) throw new WireError('number is cut short');
      const byte = this.#buffer[this.#at++] as number;
      const bits = byte & 0x7f;
      if (i < 4) low |= bits << (7 * i);
      else if (i === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * i - 32);
      if (byte < 0x80) return (signed ? high | 0 : high >>> 0) * TWO32 + (low >>> 0);
    }
    throw new WireError('number is too long');
  }

  #skip(wire: number, end: number): void {
    if (wire === 0) {
      this.#varint(end, false);
      return;
    }
    if (wire !== 1 && wire !== 2 && wire !== 5) throw new WireError(`wire type ${wire} is unknown`);
    // Reading the size moves the place, so it comes first.
    const size = wire === 1 ? 8 : wire === 5 ? 4 : this.#varint(end, false);
    this.#at += size;
    if (this.#at > end) throw new WireError('message is cut short');
  }
}
