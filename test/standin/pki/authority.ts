import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCa, issue, type KeyPair, keyPem, newKey, type Subject } from './certificates.ts';

/** Everything secret a server has, kept in its data directory so that a restart is the same server. */
export interface Authority {
  serverCa: KeyPair;
  clientCa: KeyPair;
  /** Key of the serving certificate. */
  servingKey: KeyObject;
  /** Handed to agents of old versions, which send no certificate request. */
  sharedKubeletKey: KeyObject;
  /** Signs service account tokens. */
  serviceKey: KeyObject;
  /** 48 bytes as hex, part of `/v1-k3s/config`. */
  psk: string;
  /** What the token carries: SHA-256 of the bytes `/cacerts` answers. */
  caHash: string;
  clientCertificate(subject: Subject): { cert: string; key: string };
}

/** Loads the authority from `dir/tls`, making what is missing. */
export function openAuthority(dir: string, clockOffsetMs = 0): Authority {
  const tls = join(dir, 'tls');
  mkdirSync(tls, { recursive: true, mode: 0o700 });
  const ca = (file: string, name: string): KeyPair => {
    const [crt, key] = [join(tls, `${file}.crt`), join(tls, `${file}.key`)];
    if (!existsSync(crt)) {
      const now = Date.now() + clockOffsetMs;
      const made = createCa(`${name}@${Math.floor(now / 1000)}`, now);
      writeFileSync(crt, made.cert);
      writeFileSync(key, keyPem(made.key), { mode: 0o600 });
    }
    return { cert: readFileSync(crt, 'utf8'), key: createPrivateKey(readFileSync(key)) };
  };
  const key = (file: string): KeyObject => {
    const path = join(tls, `${file}.key`);
    if (!existsSync(path)) writeFileSync(path, keyPem(newKey()), { mode: 0o600 });
    return createPrivateKey(readFileSync(path));
  };
  const text = (file: string, make: () => string): string => {
    const path = join(tls, file);
    if (!existsSync(path)) writeFileSync(path, make(), { mode: 0o600 });
    return readFileSync(path, 'utf8').trim();
  };
  const serverCa = ca('server-ca', 'k3s-server-ca');
  const clientCa = ca('client-ca', 'k3s-client-ca');
  return {
    serverCa,
    clientCa,
    servingKey: key('serving'),
    sharedKubeletKey: key('client-kubelet'),
    serviceKey: key('service'),
    psk: text('ipsec.psk', () => randomBytes(48).toString('hex')),
    caHash: createHash('sha256').update(serverCa.cert).digest('hex'),
    clientCertificate(subject) {
      const made = newKey();
      const cert = issue(clientCa, { subject, publicKey: createPublicKey(made), usage: 'client' });
      return { cert: cert + clientCa.cert, key: keyPem(made) };
    },
  };
}
