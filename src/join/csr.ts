import { createPublicKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { oid, sequence, tlv } from './der.ts';

const generate = promisify(generateKeyPair);

/** A new ECDSA P-256 key as `EC PRIVATE KEY` PEM, the form that k3s keeps. */
export async function newKeyPem(): Promise<string> {
  const { privateKey } = await generate('ec', { namedCurve: 'P-256' });
  return privateKey.export({ type: 'sec1', format: 'pem' }) as string;
}

/**
 * A PKCS#10 request in DER with an empty subject and no extensions: the server takes nothing but the public key from it
 * (k3s pkg/server/handlers signAndSend). `key` is EC, RSA or Ed25519.
 */
export function certificateRequest(key: KeyObject): Buffer {
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const info = sequence(Buffer.from([2, 1, 0]), sequence(), publicKey, tlv(0xa0));
  const [algorithm, hash] = signatureAlgorithm(key);
  const signature = sign(hash, info, key);
  return sequence(info, algorithm, tlv(3, Buffer.from([0]), signature));
}

function signatureAlgorithm(key: KeyObject): [Buffer, string | null] {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return [sequence(oid('1.2.840.10045.4.3.2')), 'sha256'];
    case 'ed25519':
      return [sequence(oid('1.3.101.112')), null];
    default:
      return [sequence(oid('1.2.840.113549.1.1.11'), Buffer.from([5, 0])), 'sha256'];
  }
}
