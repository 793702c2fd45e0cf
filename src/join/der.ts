/**
 * As much ASN.1 DER as joining needs: writing a certificate request and finding two extensions of a certificate. A
 * certificate library would do it too, but @peculiar/x509 costs 23 MB resident and 125 ms on a PC.
 */
export function tlv(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const length = content.reduce((sum, c) => sum + c.length, 0);
  const head = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), ...content]);
}

export const sequence = (...content: readonly Uint8Array[]) => tlv(0x30, ...content);

/** An object identifier such as `1.2.840.10045.4.3.2`. */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tlv(6, Buffer.from(bytes));
}

export interface Element {
  readonly tag: number;
  readonly value: Buffer;
  /** The whole element, tag and length included. */
  readonly raw: Buffer;
}

/** The elements one after the other in `bytes`; throws RangeError if a length does not fit. */
export function elements(bytes: Buffer): Element[] {
  const out: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = at;
    const tag = bytes.readUInt8(at++);
    let length = bytes.readUInt8(at++);
    if (length >= 0x80) {
      const count = length & 0x7f;
      length = bytes.readUIntBE(at, count);
      at += count;
    }
    if (at + length > bytes.length) throw new RangeError('a DER length runs past the end');
    out.push({ tag, value: bytes.subarray(at, at + length), raw: bytes.subarray(start, at + length) });
    at += length;
  }
  return out;
}

/** The value of a certificate's extension (inside its OCTET STRING), or undefined. `der` is the whole certificate. */
export function extension(der: Buffer, id: string): Buffer | undefined {
  const wanted = oid(id).subarray(2);
  try {
    const certificate = elements(der)[0];
    const tbs = certificate && elements(certificate.value)[0];
    const wrapper = tbs && elements(tbs.value).find((e) => e.tag === 0xa3);
    const list = wrapper && elements(wrapper.value)[0];
    for (const item of list ? elements(list.value) : []) {
      const parts = elements(item.value);
      if (parts[0]?.value.equals(wanted)) return parts.at(-1)?.value;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return undefined;
}

/** Subject key identifier (2.5.29.14) in hex; '' if there is none. */
export function subjectKeyId(der: Buffer): string {
  const value = extension(der, '2.5.29.14');
  try {
    return (value && elements(value)[0]?.value.toString('hex')) ?? '';
  } catch {
    return '';
  }
}

/** Authority key identifier (2.5.29.35), its keyIdentifier in hex; '' if there is none. */
export function authorityKeyId(der: Buffer): string {
  const value = extension(der, '2.5.29.35');
  try {
    const parts = value ? elements(elements(value)[0]?.value ?? Buffer.alloc(0)) : [];
    return parts.find((p) => p.tag === 0x80)?.value.toString('hex') ?? '';
  } catch {
    return '';
  }
}
