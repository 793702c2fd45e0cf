import assert from 'node:assert/strict';
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  verify,
  X509Certificate,
} from 'node:crypto';
import { mkdtemp, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '../../../src/core/index.ts';
import { caHash } from '../../../src/join/ca-hash.ts';
import { keyFor, loadPair, renewalTime, savePair, stillGood } from '../../../src/join/cert-store.ts';
import { certificateRequest, newKeyPem } from '../../../src/join/csr.ts';
import { authorityKeyId, elements, subjectKeyId } from '../../../src/join/der.ts';
import { joinPaths } from '../../../src/join/index.ts';
import { pemBlocks, splitCertKey } from '../../../src/join/pem.ts';
import { createCa, issue, keyPem, newKey } from '../../standin/pki/certificates.ts';

const fixture = (name: string) => readFile(join(import.meta.dirname, '../../fixtures/join', name));
const sha256 = (b: Buffer) => createHash('sha256').update(b).digest('hex');
const NOW = Date.UTC(2030, 0, 1);

test('one certificate is pinned by the bytes of its file, a chain by its root', async () => {
  const single = await fixture('ca-single.pem');
  assert.equal(caHash(single, NOW), sha256(single));
  assert.notEqual(caHash(Buffer.concat([single, Buffer.from('\n')]), NOW), sha256(single));
  assert.equal(caHash(await fixture('ca-chain.pem'), NOW), sha256(new X509Certificate(single).raw));
  const loose = await fixture('ca-no-chain.pem');
  assert.equal(caHash(loose, NOW), sha256(loose));
  const chain = await fixture('ca-chain.pem');
  assert.equal(caHash(chain, Date.UTC(2200, 0, 1)), sha256(chain), 'an expired chain is none');
});

test('what is no bundle has no hash', () => {
  for (const text of ['', '<html>login</html>', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])
    assert.equal(caHash(Buffer.from(text), NOW), undefined);
});

test('key identifiers are found, and random bytes do not crash the search', async () => {
  const root = new X509Certificate(await fixture('ca-single.pem')).raw;
  assert.equal(subjectKeyId(root), 'e62f1f3374901b123c47633b46e8955dce2539c3');
  assert.equal(authorityKeyId(root), '');
  const chain = (await fixture('ca-chain.pem')).toString().match(/-+BEGIN[^-]+-+[^-]+-+END[^-]+-+/g) ?? [];
  const [server, between] = chain.map((pem) => new X509Certificate(pem).raw);
  assert.equal(authorityKeyId(server!), subjectKeyId(between!));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(), (noise, at) => {
      const broken = Buffer.from(root);
      broken.set(noise.subarray(0, broken.length), at % Math.max(1, broken.length - noise.length));
      authorityKeyId(broken);
      subjectKeyId(Buffer.from(noise));
    }),
  );
});

test('a request carries the public key and a signature that holds, for every kind of key', async () => {
  const keys = [
    createPrivateKey(await newKeyPem()),
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  ];
  for (const key of keys) {
    const [outer] = elements(certificateRequest(key));
    const parts = elements(outer!.value);
    const hash = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
    assert.ok(verify(hash, parts[0]!.raw, createPublicKey(key), parts[2]!.value.subarray(1)), key.asymmetricKeyType);
    assert.equal(parts.length, 3);
    assert.equal(elements(parts[0]!.value)[1]!.value.length, 0, 'empty subject');
  }
});

test('an answer is split into chain and key; what is no PEM is skipped', async () => {
  const key = await newKeyPem();
  const ca = createCa('ca');
  const { cert, key: found } = splitCertKey(`noise\n${ca.cert}${key}more ${ca.cert}`);
  assert.equal(pemBlocks(cert).length, 2);
  assert.equal(found, key);
  fc.assert(fc.property(fc.string(), (s) => void pemBlocks(`-----BEGIN X-----${s}-----END X-----`)));
});

async function room() {
  const dir = await mkdtemp(join(tmpdir(), 'kat-join-'));
  const paths = joinPaths(dir, `${dir}/node`);
  const ca = createCa('client-ca');
  const key = newKey();
  const cert = issue(ca, {
    subject: { commonName: 'system:node:n1', organizations: ['system:nodes'] },
    publicKey: createPublicKey(key),
    usage: 'client',
  });
  const notAfter = new X509Certificate(cert).validToDate.getTime();
  const pair = { cert: cert + ca.cert, key: keyPem(key), notAfter, renewAt: Number.MAX_SAFE_INTEGER };
  return { paths, ca, pair };
}

test('a pair is read back; one that does not match after a power cut is not', async () => {
  const { paths, pair } = await room();
  assert.equal(await loadPair(paths, 'client-kubelet'), undefined);
  await savePair(paths, 'client-kubelet', pair);
  const back = await loadPair(paths, 'client-kubelet');
  assert.equal(back?.cert, pair.cert);
  assert.ok(back!.renewAt > Date.now() && back!.renewAt < pair.notAfter);
  for (const file of [paths.cert('client-kubelet'), paths.key('client-kubelet')])
    assert.equal((await stat(file)).mode & 0o777, 0o600);
  await writeFile(paths.key('client-kubelet'), await newKeyPem());
  assert.equal(await loadPair(paths, 'client-kubelet'), undefined);
  await writeFile(paths.key('client-kubelet'), '\0\0\0');
  assert.equal(await loadPair(paths, 'client-kubelet'), undefined);
});

test('a damaged key file gets a new key, and that is said', async () => {
  const { paths, pair } = await room();
  await savePair(paths, 'client-kubelet', pair);
  assert.equal(await keyFor(paths, 'client-kubelet', silentLogger), pair.key);
  await writeFile(paths.key('client-kubelet'), pair.key.slice(0, 40));
  const said: string[] = [];
  const key = await keyFor(paths, 'client-kubelet', { ...silentLogger, warn: (m) => said.push(m) });
  assert.match(key, /BEGIN EC PRIVATE KEY/);
  assert.match(said.join(), /damaged/);
});

test('a certificate is used on while it fits node, CA and time', async () => {
  const { ca, pair } = await room();
  const fits = { name: 'client-kubelet', node: { name: 'n1', ips: [] }, ca: ca.cert, now: Date.now() } as const;
  assert.ok(stillGood(pair, fits));
  assert.ok(!stillGood(pair, { ...fits, node: { name: 'n2', ips: [] } }), 'another name');
  assert.ok(!stillGood(pair, { ...fits, ca: createCa('client-ca').cert }), 'another CA of the same name');
  assert.ok(!stillGood(pair, { ...fits, ca: undefined }), 'unknown CA');
  assert.ok(!stillGood({ ...pair, renewAt: fits.now - 1 }, fits), 'due');
  assert.ok(!stillGood(pair, { ...fits, now: pair.notAfter + 1 }), 'over');
  assert.ok(!stillGood(pair, { ...fits, now: 0 }), 'not begun');
});

test('a serving certificate must cover every address of the node', () => {
  const ca = createCa('server-ca');
  const key = newKey();
  const names = ['n1', 'localhost', '127.0.0.1', '10.0.0.5', 'fd00::5'];
  const cert = issue(ca, { subject: { commonName: 'n1' }, publicKey: createPublicKey(key), usage: 'server', names });
  const pair = { cert, key: keyPem(key), notAfter: Date.now() + 1e9, renewAt: Date.now() + 1e8 };
  const good = (ips: string[]) =>
    stillGood(pair, { name: 'serving-kubelet', node: { name: 'n1', ips }, ca: ca.cert, now: Date.now() });
  assert.ok(good(['10.0.0.5', 'fd00:0::5']));
  assert.ok(!good(['10.0.0.5', '10.0.0.6']));
});

test('renewal comes at about two thirds of the remaining life, spread over the fleet', () => {
  fc.assert(
    fc.property(fc.nat(1e9), fc.nat(1e9), fc.double({ min: 0, max: 0.999, noNaN: true }), (from, life, r) => {
      const at = renewalTime(from, from + life, () => r);
      assert.ok(at >= from + life * 0.6 && at <= from + life * 0.75);
    }),
  );
});
