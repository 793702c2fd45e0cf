import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { type AgentError, silentLogger } from '../../../../src/core/index.ts';
import { KubeError, type WatchEvent } from '../../../../src/kube/index.ts';
import type { ReferenceApi } from '../../../../src/kubelet/references/index.ts';
import { anchorsOf, createTrustBundles, type TrustBundles } from '../../../../src/kubelet/references/trust-bundles.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';

const signal = new AbortController().signal;
const pem = (text: string, type = 'CERTIFICATE') =>
  `-----BEGIN ${type}-----\n${Buffer.from(text).toString('base64')}\n-----END ${type}-----\n`;
const bundle = (name: string, signerName: string, trustBundle: string, labels: object = {}) => ({
  metadata: { name, labels, resourceVersion: '5' },
  spec: { signerName, trustBundle },
});

/** A server with bundles at one API version. */
class Server {
  version: string | undefined = 'v1beta1';
  items = [
    bundle('plain', '', pem('A') + pem('B')),
    bundle('s:x:1', 'x.y/s', pem('C'), { live: 'yes' }),
    bundle('s:x:2', 'x.y/s', pem('C') + pem('D'), { live: 'no' }),
    bundle('s:z:1', 'z.y/s', pem('E'), { live: 'yes' }),
  ];
  asked: string[] = [];
  push: (event: WatchEvent<unknown>) => void = () => {};
  client = {
    get: async (path: string) => {
      this.asked.push(path);
      if (path.split('/')[3] !== this.version) throw new KubeError({ status: 404, message: 'no such thing' });
      return { metadata: { resourceVersion: '10' }, items: structuredClone(this.items) };
    },
    watch: ({ signal: end }: { signal: AbortSignal }) => this.#watch(end),
    onReachable: () => () => {},
  } as unknown as ReferenceApi;

  async *#watch(end: AbortSignal) {
    while (!end.aborted)
      yield await new Promise<WatchEvent<unknown>>((resolve, reject) => {
        this.push = resolve;
        end.addEventListener('abort', () => reject(new Error('aborted')));
      });
  }
}

describe('cluster trust bundles', () => {
  let server: Server;
  let bundles: TrustBundles;
  let changes = 0;
  beforeEach(() => {
    server = new Server();
    changes = 0;
    const changed = () => void changes++;
    bundles = createTrustBundles({ client: server.client, clock: new FakeClock(), log: silentLogger, changed });
  });
  afterEach(() => bundles.stop());

  it('are found by name, and by signer and labels', async () => {
    assert.equal(await bundles.get({ name: 'plain' }, signal), pem('A') + pem('B'));
    const of = (labelSelector: object | undefined) =>
      bundles.get({ signerName: 'x.y/s', optional: true, ...(labelSelector && { labelSelector }) }, signal);
    assert.equal(await of({}), pem('C') + pem('D'), 'each certificate once');
    assert.equal(await of({ matchLabels: { live: 'yes' } }), pem('C'));
    assert.equal(
      await of({ matchExpressions: [{ key: 'live', operator: 'NotIn', values: ['yes'] }] }),
      pem('C') + pem('D'),
    );
    assert.equal(await of({ matchLabels: { constructor: 'x' } }), '');
    assert.equal(await of(undefined), '', 'no selector matches nothing');
    assert.equal(server.asked.length, 2, 'asked once, then followed');
  });

  it('that are absent fail unless they are optional, in upstream words', async () => {
    await assert.rejects(bundles.get({ name: 'none' }, signal), {
      code: 'REFERENCE_ABSENT',
      message: 'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "none" not found',
    });
    await assert.rejects(bundles.get({ signerName: 'q/q', labelSelector: {} }, signal), {
      message: 'combination of signerName and labelSelector matched zero ClusterTrustBundles',
    });
    assert.equal(await bundles.get({ name: 'none', optional: true }, signal), '');
  });

  it('tell of changes', async () => {
    await bundles.get({ name: 'plain' }, signal);
    await settle();
    changes = 0;
    server.push({
      type: 'MODIFIED',
      object: { ...bundle('plain', '', pem('Z')), metadata: { name: 'plain', resourceVersion: '11' } },
    });
    await settle();
    assert.equal(changes, 1);
    assert.equal(await bundles.get({ name: 'plain' }, signal), pem('Z'));
  });

  it('of an older server are read in its version; one without says what it needs, and is asked again', async () => {
    server.version = undefined;
    await assert.rejects(bundles.get({ name: 'plain' }, signal), (error: AgentError) => {
      assert.equal(error.code, 'REFERENCE_UNKNOWN');
      assert.match(error.message, /feature gate ClusterTrustBundle and certificates.k8s.io\/v1beta1/);
      return true;
    });
    server.version = 'v1alpha1';
    assert.equal(await bundles.get({ name: 'plain' }, signal), pem('A') + pem('B'));
  });

  it('hold whatever is in the PEM, and nothing of what is around it', () => {
    const long = 'x'.repeat(100);
    assert.equal(
      anchorsOf([`# comment\n${pem('B', 'X509 CERTIFICATE')}junk`, 'no pem', pem('A')]),
      pem('A') + pem('B'),
    );
    assert.match(anchorsOf([pem(long)]), /^-----BEGIN CERTIFICATE-----\n[^\n]{64}\n[^\n]{64}\n[^\n]+\n-----END/);
  });
});
