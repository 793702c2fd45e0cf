import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { bits, boolean, children, integer, octets, oid, sequence, set, time, tlv, utf8 } from './der.ts';

/** A certificate (PEM) with the key that belongs to it. */
export interface KeyPair {
  cert: string;
  key: KeyObject;
}

export interface Subject {
  commonName: string;
  organizations?: readonly string[];
}

export interface LeafRequest {
  subject: Subject;
  publicKey: KeyObject;
  usage: 'server' | 'client';
  /** DNS names and IP addresses. */
  names?: readonly string[];
  days?: number;
  /** The certificate's time of issue, if it is not now. */
  issuedAt?: number;
}

const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const DAY = 86_400_000;

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** The key as `EC PRIVATE KEY`, the form k3s writes and hands out. */
export function keyPem(key: KeyObject): string {
  return key.export({ type: 'sec1', format: 'pem' }) as string;
}

/** A self-signed CA with the shape of k3s's (`k3s-server-ca@<unix time>`, ten years). */
export function createCa(commonName: string, issuedAt = Date.now()): KeyPair {
  const key = newKey();
  const publicKey = createPublicKey(key);
  const name = distinguishedName({ commonName });
  const extensions = [
    extension('2.5.29.15', true, bits(Buffer.from([0xa4]), 2)),
    extension('2.5.29.19', true, sequence(boolean(true))),
    extension('2.5.29.14', false, octets(keyId(publicKey))),
  ];
  const serial = Buffer.from([0]);
  return {
    key,
    cert: certificate({ serial, issuer: name, subject: name, publicKey, extensions, days: 3650, key, issuedAt }),
  };
}

/** Signs a leaf with the CA. Returns PEM. */
export function issue(ca: KeyPair, leaf: LeafRequest): string {
  const caKey = createPublicKey(ca.key);
  const eku = leaf.usage === 'server' ? '1.3.6.1.5.5.7.3.1' : '1.3.6.1.5.5.7.3.2';
  const extensions = [
    extension('2.5.29.15', true, bits(Buffer.from([0xa0]), 5)),
    extension('2.5.29.37', false, sequence(oid(eku))),
    extension('2.5.29.35', false, sequence(tlv(0x80, keyId(caKey)))),
  ];
  if (leaf.names?.length) extensions.push(extension('2.5.29.17', false, sequence(...leaf.names.map(generalName))));
  return certificate({
    serial: Buffer.concat([Buffer.from([0x40 | ((randomBytes(1)[0] as number) & 0x3f)]), randomBytes(7)]),
    issuer: subjectOf(ca.cert),
    subject: distinguishedName(leaf.subject),
    publicKey: leaf.publicKey,
    extensions,
    days: leaf.days ?? 365,
    key: ca.key,
    issuedAt: leaf.issuedAt ?? Date.now(),
  });
}

/** The public key inside a DER PKCS#10 request. Throws if the bytes are none. */
export function csrPublicKey(der: Buffer): KeyObject {
  const info = children(children(der)[0]?.content ?? Buffer.alloc(0))[0];
  const spki = children(info?.content ?? Buffer.alloc(0))[2];
  if (spki === undefined) throw new Error('not a certificate request');
  return createPublicKey({ key: spki.raw, format: 'der', type: 'spki' });
}

function pemToDer(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
}

function subjectOf(pem: string): Buffer {
  const tbs = children(children(pemToDer(pem))[0]?.content ?? Buffer.alloc(0))[0];
  return children(tbs?.content ?? Buffer.alloc(0))[5]?.raw ?? Buffer.alloc(0);
}

function certificate(c: {
  serial: Buffer;
  issuer: Buffer;
  subject: Buffer;
  publicKey: KeyObject;
  extensions: Buffer[];
  days: number;
  key: KeyObject;
  issuedAt: number;
}): string {
  // Go back an hour as k3s does: a board's clock may be behind.
  const from = new Date(c.issuedAt - 3_600_000);
  const tbs = sequence(
    tlv(0xa0, integer(Buffer.from([2]))),
    integer(c.serial),
    ECDSA_SHA256,
    c.issuer,
    sequence(time(from), time(new Date(c.issuedAt + c.days * DAY))),
    c.subject,
    c.publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...c.extensions)),
  );
  const der = sequence(tbs, ECDSA_SHA256, bits(sign('sha256', tbs, c.key)));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function distinguishedName(subject: Subject): Buffer {
  const attribute = (type: string, value: string) => set(sequence(oid(type), utf8(value)));
  const organizations = (subject.organizations ?? []).map((o) => attribute('2.5.4.10', o));
  return sequence(...organizations, attribute('2.5.4.3', subject.commonName));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return critical ? sequence(oid(id), boolean(true), octets(value)) : sequence(oid(id), octets(value));
}

function generalName(name: string): Buffer {
  return isIP(name) ? tlv(0x87, Buffer.from(ipaddr.parse(name).toByteArray())) : tlv(0x82, Buffer.from(name));
}

function keyId(key: KeyObject): Buffer {
  const spki = children(key.export({ type: 'spki', format: 'der' }));
  const bitString = children(spki[0]?.content ?? Buffer.alloc(0))[1]?.content ?? Buffer.alloc(0);
  return createHash('sha1').update(bitString.subarray(1)).digest();
}
