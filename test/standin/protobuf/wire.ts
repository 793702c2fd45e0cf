/** One field of a protobuf message as it lies on the wire. */
export interface WireField {
  number: number;
  /** A varint or fixed number, or the bytes of a length-delimited field. */
  value: bigint | Buffer;
}

/** The fields of a message, in order. Throws on truncated input. */
export function wireFields(message: Buffer): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new Error('protobuf message is truncated');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
    throw new Error('protobuf number is too long');
  };
  while (at < message.length) {
    const tag = Number(varint());
    const number = tag >>> 3;
    const type = tag & 7;
    if (type === 0) fields.push({ number, value: varint() });
    else if (type === 2) {
      const length = Number(varint());
      if (length < 0 || at + length > message.length) throw new Error('protobuf message is truncated');
      fields.push({ number, value: message.subarray(at, at + length) });
      at += length;
    } else if (type === 1 || type === 5) {
      const length = type === 1 ? 8 : 4;
      fields.push({ number, value: message.subarray(at, at + length) });
      at += length;
    } else throw new Error(`protobuf wire type ${type} is not known`);
  }
  return fields;
}
