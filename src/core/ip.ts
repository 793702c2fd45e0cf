import ipaddr from 'ipaddr.js';
import { AgentError } from './errors.ts';

export type Family = 4 | 6;

/** An address block: `address` as written (host bits kept), `prefix` in bits. */
export interface Cidr {
  readonly family: Family;
  readonly address: string;
  readonly prefix: number;
}

/** The family of an address, or undefined if the text is not an address. */
export function familyOf(address: string): Family | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return 4;
  return ipaddr.IPv6.isValid(address) ? 6 : undefined;
}

/** Throws `CIDR_INVALID` naming the text. */
export function parseCidr(text: string): Cidr {
  const [address = '', bits = '', ...rest] = text.split('/');
  const family = familyOf(address);
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
  if (family === undefined || rest.length > 0 || prefix < 0 || prefix > (family === 4 ? 32 : 128))
    throw new AgentError({
      code: 'CIDR_INVALID',
      message: `"${text.slice(0, 64)}" is not an address block such as 10.42.0.0/24`,
    });
  return { family, address, prefix };
}

/** `address/prefix` as written. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.address}/${cidr.prefix}`;
}

/** The block's first address (host bits zero), in its shortest form. */
export function networkAddress(cidr: Cidr): string {
  const type = cidr.family === 4 ? ipaddr.IPv4 : ipaddr.IPv6;
  return type.networkAddressFromCIDR(formatCidr(cidr)).toString();
}

/** The address `offset` places after the block's first one: offset 1 is the usual gateway. */
export function addressAt(cidr: Cidr, offset: number): string {
  const bytes = ipaddr.parse(networkAddress(cidr)).toByteArray();
  for (let i = bytes.length - 1, carry = offset; i >= 0 && carry > 0; i--) {
    const sum = (bytes[i] as number) + carry;
    bytes[i] = sum & 0xff;
    carry = Math.floor(sum / 256);
  }
  return ipaddr.fromByteArray(bytes).toString();
}

export function cidrContains(cidr: Cidr, address: string): boolean {
  if (familyOf(address) !== cidr.family) return false;
  return ipaddr.parse(address).match(ipaddr.parse(cidr.address), cidr.prefix);
}

/** True when both texts are the same address, however written (`::1` and `0:0:0:0:0:0:0:1`). */
export function sameAddress(a: string, b: string): boolean {
  return normalizeAddress(a) === normalizeAddress(b);
}

/** The shortest form of an address; the text itself if it is none. */
export function normalizeAddress(address: string): string {
  return familyOf(address) === undefined ? address : ipaddr.parse(address).toString();
}

/** Global unicast in Go's sense: not unspecified, loopback, link-local, multicast or broadcast (private ones count). */
export function isGlobalUnicast(address: string): boolean {
  if (familyOf(address) === undefined) return false;
  return !['unspecified', 'loopback', 'linkLocal', 'multicast', 'broadcast'].includes(ipaddr.parse(address).range());
}

/** `host:port`, with brackets around an IPv6 host. */
export function hostPort(host: string, port: number): string {
  return familyOf(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Splits `host:port` or `[v6]:port`; undefined if it has another shape. */
export function splitHostPort(text: string): { host: string; port: number } | undefined {
  const m = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (!m || Number(m[3]) > 65535) return undefined;
  return { host: (m[1] ?? m[2]) as string, port: Number(m[3]) };
}
