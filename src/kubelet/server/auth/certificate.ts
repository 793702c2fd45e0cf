import type { TLSSocket } from 'node:tls';
import { type Identity, withAuthenticated } from './identity.ts';

interface Known {
  identity: Identity;
  notBefore: number;
  notAfter: number;
}

/** One look at a connection's certificate is enough: it can't change while the connection lives. */
const known = new WeakMap<TLSSocket, Known | null>();

/**
 * The identity in a connection's client certificate: CN is the user, every O a group (upstream:
 * apiserver/pkg/authentication/request/x509). The TLS handshake has verified chain and key usage against the client CA
 * (`socket.authorized`); the dates are looked at again, since a connection may outlive its certificate.
 */
export function certificateIdentity(socket: TLSSocket, now: number): Identity | undefined {
  let entry = known.get(socket);
  if (entry === undefined) {
    entry = socket.authorized ? read(socket) : null;
    known.set(socket, entry);
  }
  return entry !== null && now >= entry.notBefore && now <= entry.notAfter ? entry.identity : undefined;
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
