/** The little of DER that certificates need: tag, length, content. */

export function tlv(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body]);
  const bytes: number[] = [];
  for (let n = length; n > 0; n = Math.floor(n / 256)) bytes.unshift(n & 0xff);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), body]);
}

export const sequence = (...content: Uint8Array[]): Buffer => tlv(0x30, ...content);
export const set = (...content: Uint8Array[]): Buffer => tlv(0x31, ...content);
export const octets = (content: Uint8Array): Buffer => tlv(0x04, content);
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text));
export const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.from([value ? 0xff : 0]));
/** `unused` bits at the end do not count. */
export const bits = (content: Uint8Array, unused = 0): Buffer => tlv(0x03, Buffer.from([unused]), content);

/** An unsigned integer from big-endian bytes. */
export function integer(bytes: Uint8Array): Buffer {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const trimmed = bytes.subarray(from);
  return tlv(0x02, (trimmed[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed);
}

export function oid(text: string): Buffer {
  const parts = text.split('.').map(Number);
  const out = [(parts[0] ?? 0) * 40 + (parts[1] ?? 0)];
  for (const part of parts.slice(2)) {
    const groups = [part & 0x7f];
    for (let n = part >>> 7; n > 0; n >>>= 7) groups.unshift((n & 0x7f) | 0x80);
    out.push(...groups);
  }
  return tlv(0x06, Buffer.from(out));
}

/** UTCTime up to 2049, GeneralizedTime after, as RFC 5280 asks. */
export function time(at: Date): Buffer {
  const digits = at
    .toISOString()
    .replace(/[-:T]|\.\d+/g, '')
    .replace('Z', 'Z');
  return at.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

export interface DerNode {
  tag: number;
  /** The whole element, header included. */
  raw: Buffer;
  content: Buffer;
}

/** The elements inside a constructed value, one level deep. Throws on truncated input. */
export function children(content: Buffer): DerNode[] {
  const out: DerNode[] = [];
  for (let at = 0; at < content.length; ) {
    const tag = content[at] as number;
    let length = content[at + 1] ?? 0;
    let header = 2;
    if (length & 0x80) {
      const n = length & 0x7f;
      if (n > 4) throw new Error('DER length too large');
      length = 0;
      for (let i = 0; i < n; i++) length = length * 256 + (content[at + 2 + i] ?? 0);
      header += n;
    }
    const end = at + header + length;
    if (end > content.length) throw new Error('DER element is truncated');
    out.push({ tag, raw: content.subarray(at, end), content: content.subarray(at + header, end) });
    at = end;
  }
  return out;
}
