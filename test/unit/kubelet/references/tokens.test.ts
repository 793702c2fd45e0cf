import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { KubeError } from '../../../../src/kube/index.ts';
import { createTokens, type Tokens, type TokenWish } from '../../../../src/kubelet/references/index.ts';
import { FakeClock } from '../../../fakes/clock.ts';
import { FakeReferenceApi } from '../../../fakes/reference-api.ts';

const signal = new AbortController().signal;
const wish: TokenWish = {
  podName: 'p',
  podUid: 'u1',
  namespace: 'ns',
  serviceAccount: 'default',
  audience: '',
  expirationSeconds: 3600,
};

function jwt(claims: object): string {
  const part = (o: object) => Buffer.from(JSON.stringify(o)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.x`;
}

describe('service account tokens', () => {
  let api: FakeReferenceApi;
  let clock: FakeClock;
  let tokens: Tokens;
  beforeEach(() => {
    api = new FakeReferenceApi();
    clock = new FakeClock();
    tokens = createTokens({ client: api.client, clock, random: () => 0 });
  });
  const token = async (w = wish) => (await tokens.get(w, signal)).token;

  it('are bound to their pod and audience', async () => {
    await token({ ...wish, audience: 'vault' });
    assert.deepEqual(api.requests, ['POST /api/v1/namespaces/ns/serviceaccounts/default/token']);
    assert.deepEqual((api.tokenBodies[0] as { spec: unknown }).spec, {
      audiences: ['vault'],
      expirationSeconds: 3600,
      boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'p', uid: 'u1' },
    });
  });

  it('are shared until 80 % of their life are over', async () => {
    assert.equal(await token(), await token());
    await clock.advance(2879_000);
    assert.equal(await token(), 'token-1');
    await clock.advance(2_000);
    assert.equal(await token(), 'token-2');
  });

  it('that live long are renewed daily', async () => {
    api.tokenLife = 30 * 24 * 3600;
    await token();
    await clock.advance(24 * 3600_000 + 1);
    assert.equal(await token(), 'token-2');
  });

  it('that cannot be renewed are given until they expire', async () => {
    await token();
    api.down();
    await clock.advance(3000_000);
    assert.equal(await token(), 'token-1');
    await clock.advance(700_000);
    await assert.rejects(token(), /^AgentError: failed to fetch token: connect ECONNREFUSED$/);
  });

  it('do not depend on the clock of the board', async () => {
    await token();
    clock.jump(10 * 365 * 24 * 3600_000);
    assert.equal(await token(), 'token-1');
  });

  it('of a former run are taken over if they are good', async () => {
    const now = clock.now() / 1000;
    const claims = (o: object) =>
      jwt({ iat: now - 60, exp: now + 3540, 'kubernetes.io': { pod: { uid: 'u1' } }, ...o });
    const good = claims({});
    tokens.adopt(wish, good);
    assert.equal(await token(), good);
    assert.equal(api.requests.length, 0);
    tokens.forget('u1');
    for (const bad of [
      claims({ exp: now - 1 }),
      claims({ 'kubernetes.io': { pod: { uid: 'other' } } }),
      claims({ iat: now + 1000 }),
      claims({ 'kubernetes.io': { pod: { uid: 'u1' }, warnafter: now - 10 }, exp: now + 1e7 }),
      'garbage',
    ]) {
      tokens.adopt(wish, bad);
      assert.match(await token(), /^token-/);
      tokens.forget('u1');
    }
  });

  it('ask again when the server does not know yet that the pod is here', async () => {
    api.fault = new KubeError({ status: 403, message: 'not yet' });
    const asked = token();
    await clock.advance(50);
    api.fault = undefined;
    await clock.advance(100);
    assert.equal(await asked, 'token-1');
  });
});
