import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { type Identity, withAuthenticated } from './identity.ts';

interface Known {
  identity: Identity;
  notBefore: number;
  notAfter: number;
}

/** One look at a connection's certificate is enough: it can't change while the connection lives. */
const known = new WeakMap<TLSSocket, Known | null>();

/** The certificates of a PEM bundle. Throws if one of them is none. */
export function readAnchors(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/**
 * The identity in a connection's client certificate: CN is the user, every O a group (upstream:
 * apiserver/pkg/authentication/request/x509). The TLS handshake has verified chain and key usage against the client CA
 * (`socket.authorized`); the dates are looked at again, since a connection may outlive its certificate.
 */
export function certificateIdentity(
  socket: TLSSocket,
  { anchors, now }: { anchors: readonly X509Certificate[]; now: number },
): Identity | undefined {
  let entry = known.get(socket);
  if (entry === undefined) {
    entry = socket.authorized || vouchedFor(socket, anchors, now) ? read(socket) : null;
    known.set(socket, entry);
  }
  return entry !== null && now >= entry.notBefore && now <= entry.notAfter ? entry.identity : undefined;
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_USAGE = '2.5.29.37.0';
const NO_ISSUER: readonly string[] = [
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
];

/**
 * To Go any certificate of the bundle is an anchor; OpenSSL wants the chain up to a self-signed root, and an HTTPS
 * server of Node can't be told otherwise. A cluster with a client CA of its own making may hand out the CA alone.
 */
function vouchedFor(socket: TLSSocket, anchors: readonly X509Certificate[], now: number): boolean {
  if (!NO_ISSUER.includes(String(socket.authorizationError))) return false;
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return false;
  const usages = leaf.keyUsage as string[] | undefined;
  if (usages !== undefined && !usages.includes(CLIENT_AUTH) && !usages.includes(ANY_USAGE)) return false;
  return anchors.some(
    (ca) =>
      ca.ca &&
      Date.parse(ca.validFrom) <= now &&
      now <= Date.parse(ca.validTo) &&
      leaf.checkIssued(ca) &&
      leaf.verify(ca.publicKey),
  );
}

function read(socket: TLSSocket): Known | null {
  const certificate = socket.getPeerCertificate();
  // Without a certificate Node gives an empty object.
  const subject = certificate.subject as Record<string, string | string[] | undefined> | undefined;
  if (subject === undefined) return null;
  // Of several common names the last one counts, as in Go.
  const user = list(subject.CN).at(-1) ?? '';
  const notBefore = Date.parse(certificate.valid_from);
  const notAfter = Date.parse(certificate.valid_to);
  if (user === '' || !Number.isFinite(notBefore) || !Number.isFinite(notAfter)) return null;
  return {
    identity: { user, groups: withAuthenticated(list(subject.O)), via: 'certificate' },
    notBefore,
    notAfter,
  };
}

function list(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value;
}
