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
 * anything else, and what is built is bounded by the input's size and a number of messages.
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

export interface Field {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly repeated: boolean;
  readonly required: boolean;
  readonly kind: 'varint' | 'bool' | 'string' | 'bytes' | 'map' | 'value' | 'enum' | 'message';
}

export interface Message {
  readonly fields: readonly Field[];
  readonly byNumber: ReadonlyMap<number, Field>;
}

export type Values = Record<string, unknown>;

export const TWO32 = 2 ** 32;

export function defineSchema(text: SchemaText): Schema {
  return { ...text, parsed: new Map() };
}

/** The parsed form of a message's text; throws for a schema that is wrong in itself. */
export function messageOf(schema: Schema, name: string): Message {
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
