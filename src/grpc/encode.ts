import { type Field, messageOf, type Schema, TWO32, type Values } from './schema.ts';

/** The message's bytes. Undefined and zero values are left out, as proto3 does. */
export function encode(schema: Schema, name: string, value: object): Buffer {
  const writer = new Writer();
  writeMessage(writer, schema, name, value as Values);
  return writer.finish();
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
