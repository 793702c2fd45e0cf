import { createHash, X509Certificate } from 'node:crypto';
import { authorityKeyId, subjectKeyId } from './der.ts';
import { pemBlocks } from './pem.ts';

/** The certificates of a PEM bundle; undefined if there is none or one can't be read. */
export function parseBundle(pem: string | Buffer): X509Certificate[] | undefined {
  const blocks = pemBlocks(pem.toString()).filter((b) => b.label === 'CERTIFICATE');
  if (blocks.length === 0) return undefined;
  try {
    return blocks.map((b) => new X509Certificate(b.pem));
  } catch {
    return undefined;
  }
}

/**
 * Hex SHA-256 by which a token pins a CA bundle (pkg/clientaccess hashCA): over the raw bytes when the bundle is one
 * certificate; over the DER of the root that the first certificate chains to when there are more, so that a CA can be
 * renewed under the same root; over the raw bytes if it chains to none. Undefined if the bundle holds no certificate.
 */
export function caHash(bundle: Buffer, now: number): string | undefined {
  const certificates = parseBundle(bundle);
  if (certificates === undefined) return undefined;
  const root = certificates.length > 1 ? rootOf(certificates, now) : undefined;
  return createHash('sha256')
    .update(root?.raw ?? bundle)
    .digest('hex');
}

function rootOf([first, ...others]: X509Certificate[], now: number): X509Certificate | undefined {
  const isRoot = (c: X509Certificate) => {
    const authority = authorityKeyId(c.raw);
    return authority === '' || authority === subjectKeyId(c.raw);
  };
  const roots = others.filter(isRoot);
  const rest = others.filter((c) => !isRoot(c));
  const search = (child: X509Certificate, path: readonly X509Certificate[]): X509Certificate | undefined => {
    if (!inTime(child, now)) return undefined;
    const known = roots.find((r) => r.raw.equals(child.raw));
    if (known) return known;
    const issuers = (from: X509Certificate[]) => from.filter((c) => issued(child, c) && inTime(c, now));
    const root = issuers(roots)[0];
    if (root) return root;
    for (const parent of issuers(rest)) {
      if (path.includes(parent) || path.length > 10) continue;
      const found = search(parent, [...path, parent]);
      if (found) return found;
    }
    return undefined;
  };
  return first && search(first, [first]);
}

/** True if `child` bears a valid signature of `parent`, a CA of the right name. */
export function issued(child: X509Certificate, parent: X509Certificate): boolean {
  try {
    return parent.ca && child.checkIssued(parent) && child.verify(parent.publicKey);
  } catch {
    return false;
  }
}

export function inTime(certificate: X509Certificate, now: number): boolean {
  return certificate.validFromDate.getTime() <= now && now <= certificate.validToDate.getTime();
}
