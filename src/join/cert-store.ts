import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { type Logger, registerSecret, sameAddress } from '../core/index.ts';
import { modifiedAt, readText, writeIfChanged } from '../host/index.ts';
import { inTime, issued, parseBundle } from './ca-hash.ts';
import { certificateRequest, newKeyPem } from './csr.ts';
import { JoinFailure } from './failure.ts';
import type { JoinPaths } from './paths.ts';
import { splitCertKey } from './pem.ts';
import type { CertName, NodeIdentity, Supervisor } from './supervisor.ts';

/** A certificate chain with its key, PEM; times in milliseconds since the epoch. */
export interface CertPair {
  readonly cert: string;
  readonly key: string;
  readonly notAfter: number;
  /** When to ask for a new one. */
  readonly renewAt: number;
}

/**
 * Two thirds of the life that was left when it was issued, give or take 5 %, so that a fleet does not come at once. The
 * certificate's own start does not count: k3s dates it back to the day of its CA.
 */
export function renewalTime(issuedAt: number, notAfter: number, random: () => number): number {
  return issuedAt + Math.max(0, notAfter - issuedAt) * (0.62 + 0.1 * random());
}

/** The pair on disk; undefined if a file is missing, can't be read, or they do not belong together (a power cut). */
export async function loadPair(
  paths: JoinPaths,
  name: CertName,
  random: () => number = Math.random,
): Promise<CertPair | undefined> {
  const [cert, key, written] = await Promise.all([
    readText(paths.cert(name)).catch(() => undefined),
    readText(paths.key(name)).catch(() => undefined),
    modifiedAt(paths.cert(name)),
  ]);
  if (cert === undefined || key === undefined) return undefined;
  const leaf = parseBundle(cert)?.[0];
  const parsed = parseKey(key);
  if (leaf === undefined || parsed === undefined || !leaf.checkPrivateKey(parsed)) return undefined;
  const notAfter = leaf.validToDate.getTime();
  return { cert, key, notAfter, renewAt: renewalTime(written ?? 0, notAfter, random) };
}

export interface Demands {
  readonly name: CertName;
  readonly node: Pick<NodeIdentity, 'name' | 'ips'>;
  /** PEM of the CA that must have signed it. */
  readonly ca: string | undefined;
  readonly now: number;
}

/** True if the pair still does its job: signed by today's CA, in time, not due, for this node and its addresses. */
export function stillGood(pair: CertPair, demands: Demands): boolean {
  const { name, node, now } = demands;
  const leaf = parseBundle(pair.cert)?.[0];
  const ca = demands.ca === undefined ? undefined : parseBundle(demands.ca)?.[0];
  if (leaf === undefined || ca === undefined || !issued(leaf, ca)) return false;
  if (!inTime(leaf, now) || now >= pair.renewAt) return false;
  if (name === 'client-kubelet') return commonName(leaf) === `system:node:${node.name}`;
  if (name !== 'serving-kubelet') return true;
  const held = (leaf.subjectAltName ?? '')
    .split(', ')
    .filter((s) => s.startsWith('IP Address:'))
    .map((s) => s.slice(11));
  return commonName(leaf) === node.name && node.ips.every((ip) => held.some((h) => sameAddress(h, ip)));
}

/** The common name of a certificate's subject; '' if it has none. */
export function commonName(certificate: X509Certificate): string {
  return /^CN=(.*)$/m.exec(certificate.subject ?? '')?.[1] ?? '';
}

/**
 * The key to use for a certificate: the one on disk, else a new one. A file that holds no key (a power cut, a broken
 * card) is replaced: the key is no identity, the server signs any. Unlike the original, which stops there.
 */
export async function keyFor(paths: JoinPaths, name: CertName, log: Logger): Promise<string> {
  const text = await readText(paths.key(name)).catch(() => undefined);
  if (text !== undefined && parseKey(text) !== undefined) return text;
  if (text !== undefined) log.warn('a key file is damaged; making a new key', { file: paths.key(name) });
  return newKeyPem();
}

export interface RequestOptions {
  readonly supervisor: Supervisor;
  readonly name: CertName;
  readonly key: string;
  readonly node: NodeIdentity;
  readonly now: number;
  readonly random: () => number;
  readonly signal?: AbortSignal;
}

/** Has the server sign our key. Servers up to 1.21 ignore the request and send a pair of their own: then that is used. */
export async function requestPair(options: RequestOptions): Promise<CertPair> {
  const { supervisor, name, node, now, signal } = options;
  const own = parseKey(options.key) as KeyObject;
  const answer = splitCertKey(await supervisor.certificate(name, certificateRequest(own), node, signal));
  const key = answer.key === '' ? options.key : answer.key;
  registerSecret(key);
  const leaf = parseBundle(answer.cert)?.[0];
  const parsed = parseKey(key);
  if (leaf === undefined || parsed === undefined || !leaf.checkPrivateKey(parsed))
    throw new JoinFailure({ step: 'server-error', message: `the server's answer holds no usable ${name} certificate` });
  const notAfter = leaf.validToDate.getTime();
  if (notAfter <= now)
    throw new JoinFailure({
      step: 'tls-clock',
      message: `the new ${name} certificate ended ${leaf.validToDate.toISOString()}, before the time of this board (${new Date(now).toISOString()})`,
      remedy: 'set the clocks of board and server (timedatectl set-ntp true)',
    });
  return { cert: answer.cert, key, notAfter, renewAt: renewalTime(now, notAfter, options.random) };
}

/** Key first: a cut in between leaves a pair that does not match, which {@link loadPair} sees. */
export async function savePair(paths: JoinPaths, name: CertName, pair: CertPair): Promise<void> {
  await writeIfChanged(paths.key(name), pair.key, 0o600);
  await writeIfChanged(paths.cert(name), pair.cert, 0o600);
}

function parseKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
