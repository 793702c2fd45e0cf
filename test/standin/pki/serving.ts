import { createPublicKey } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { Authority } from './authority.ts';
import { issue, keyPem } from './certificates.ts';

/** The serving certificate, which grows with the host names clients use, as dynamiclistener's does. */
export interface ServingCertificate {
  /** PEM chain and key for the listener. */
  cert: string;
  key: string;
  /** The context for a TLS server name, made on first use and then kept. */
  contextFor(serverName: string): SecureContext;
}

const MAX_NAMES = 200;

/** `clockOffsetMs`: how far the server's clock is ahead of this machine's. */
export function createServingCertificate(
  authority: Authority,
  { advertise, clockOffsetMs }: { advertise: string; clockOffsetMs: number },
): ServingCertificate {
  const local = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((a) => a.address));
  const base = new Set(
    ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local', 'localhost']
      .concat(['127.0.0.1', '::1', '10.43.0.1', advertise, ...local.map((a) => a.replace(/%.*/, ''))])
      .filter((name) => name !== ''),
  );
  const key = keyPem(authority.servingKey);
  const sign = (extra: readonly string[]) =>
    issue(authority.serverCa, {
      subject: { commonName: 'k3s', organizations: ['k3s'] },
      publicKey: createPublicKey(authority.servingKey),
      usage: 'server',
      names: [...new Set([...base, ...extra])],
      issuedAt: Date.now() + clockOffsetMs,
    }) + authority.serverCa.cert;
  const contexts = new Map<string, SecureContext>();
  return {
    cert: sign([]),
    key,
    contextFor(serverName) {
      const kept = contexts.get(serverName);
      if (kept) return kept;
      const context = createSecureContext({ cert: sign([serverName]), key, ca: [authority.clientCa.cert] });
      if (contexts.size < MAX_NAMES) contexts.set(serverName, context);
      return context;
    },
  };
}
