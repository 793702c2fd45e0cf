import { type Field, messageOf, type Schema, TWO32, type Values, WireError } from './schema.ts';

const MAX_DEPTH = 24;
/** Messages inside one decoded message: an empty one costs the sender 2 bytes and us a hundred. */
const MAX_MESSAGES = 250_000;

/** Reads a message; see {@link Schema} for what absent and unknown fields become. Throws {@link WireError}. */
export function decode(schema: Schema, name: string, bytes: Uint8Array): unknown {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new Reader(schema, buffer).message(name, 0, buffer.length, 0);
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
