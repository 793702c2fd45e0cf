import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import { KubeError } from '../../../../src/kube/index.ts';
import { nodeAttributes } from '../../../../src/kubelet/server/auth/attributes.ts';
import { authorizer, forbiddenText } from '../../../../src/kubelet/server/auth/authorize.ts';
import type { Identity } from '../../../../src/kubelet/server/auth/identity.ts';
import { bearerToken, tokenReviewer } from '../../../../src/kubelet/server/auth/token.ts';
import { TtlCache } from '../../../../src/kubelet/server/auth/ttl-cache.ts';
import { HealthzServer } from '../../../../src/kubelet/server/index.ts';
import { parseTarget, route } from '../../../../src/kubelet/server/route.ts';

function manualClock() {
  let now = 0;
  return {
    advance: (ms: number) => {
      now += ms;
    },
    now: () => now,
    monotonic: () => now,
    sleep: () => Promise.resolve(),
    after: () => () => {},
  };
}

/** An API server whose answers the test gives; counts the questions. */
function api(answer: (body: { spec: Record<string, unknown> }) => object) {
  const asked: { path: string; spec: Record<string, unknown> }[] = [];
  return {
    asked,
    async create<T>(path: string, body: unknown): Promise<T> {
      const review = body as { spec: Record<string, unknown> };
      asked.push({ path, spec: review.spec });
      return { status: answer(review) } as T;
    },
  };
}

const alice: Identity = { user: 'alice', groups: ['dev', 'system:authenticated'], via: 'token' };
const master: Identity = { user: 'system:apiserver', groups: ['system:masters'], via: 'certificate' };
const unreachable = () => {
  throw new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'no answer' });
};

test('paths become the subresources of the kubelet', () => {
  assert.deepEqual(nodeAttributes('GET', '/pods'), { verb: 'get', subresources: ['pods', 'proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/runningpods/'), { verb: 'get', subresources: ['pods', 'proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/healthz/ping'), { verb: 'get', subresources: ['healthz', 'proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/configz'), { verb: 'get', subresources: ['configz', 'proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/metrics/cadvisor'), { verb: 'get', subresources: ['metrics'] });
  assert.deepEqual(nodeAttributes('GET', '/stats/summary'), { verb: 'get', subresources: ['stats'] });
  assert.deepEqual(nodeAttributes('GET', '/logs/x'), { verb: 'get', subresources: ['log'] });
  assert.deepEqual(nodeAttributes('POST', '/exec/a/b/c'), { verb: 'create', subresources: ['proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/podsx'), { verb: 'get', subresources: ['proxy'] });
  assert.deepEqual(nodeAttributes('GET', '/constructor'), { verb: 'get', subresources: ['proxy'] });
  assert.equal(nodeAttributes('HEAD', '/pods').verb, '');
});

test('paths that could mean two things are none', () => {
  for (const url of [
    '/stats/../exec/a/b/c',
    '//exec/a/b/c',
    '/exec//b/c',
    '/stats/%2e%2e/pods',
    'http://x/pods',
    '/%zz',
    '*',
  ])
    assert.equal(parseTarget(url), undefined, url);
  assert.equal(parseTarget('/containerLogs/ns/p/c?follow=true')?.query.get('follow'), 'true');
});

test('every path form of the kubelet is found', () => {
  assert.deepEqual(route('POST', '/exec/ns/p/c'), { kind: 'exec', namespace: 'ns', pod: 'p', container: 'c' });
  assert.deepEqual(route('GET', '/attach/ns/p/u/c'), {
    kind: 'attach',
    namespace: 'ns',
    pod: 'p',
    uid: 'u',
    container: 'c',
  });
  assert.deepEqual(route('POST', '/portForward/ns/p'), { kind: 'portForward', namespace: 'ns', pod: 'p' });
  assert.deepEqual(route('POST', '/portForward/ns/p/u'), { kind: 'portForward', namespace: 'ns', pod: 'p', uid: 'u' });
  assert.deepEqual(route('GET', '/runningpods/'), { kind: 'runningPods' });
  assert.equal(route('GET', '/run/ns/p/c').kind, 'none');
  assert.deepEqual(route('DELETE', '/pods'), { kind: 'none', status: 405, text: '405: Method Not Allowed' });
  assert.equal((route('GET', '/containerLogs/ns/p/u/c') as { status: number }).status, 404);
  assert.equal((route('GET', '/') as { status: number }).status, 404);
});

test('fine-grained permissions are asked about first, then proxy; answers are kept for their time', async () => {
  const clock = manualClock();
  const kube = api(({ spec }) => ({
    allowed: (spec.resourceAttributes as { subresource: string }).subresource === 'proxy',
  }));
  const may = authorizer({ kube, nodeName: 'n1', clock });
  const attributes = nodeAttributes('GET', '/pods');
  assert.equal(await may(alice, attributes), true);
  assert.deepEqual(
    kube.asked.map((a) => a.spec.resourceAttributes),
    ['pods', 'proxy'].map((subresource) => ({
      verb: 'get',
      version: 'v1',
      resource: 'nodes',
      subresource,
      name: 'n1',
    })),
  );
  assert.deepEqual(kube.asked[0]?.spec.groups, ['dev', 'system:authenticated']);
  await may(alice, attributes);
  assert.equal(kube.asked.length, 2);
  clock.advance(31_000); // the denial ended, the permission did not
  await may(alice, attributes);
  assert.equal(kube.asked.length, 3);
  clock.advance(300_000);
  await may(alice, attributes);
  assert.equal(kube.asked.length, 5);
});

test('the same question asked by many at once is asked once', async () => {
  const kube = api(() => ({ allowed: true }));
  const may = authorizer({ kube, nodeName: 'n1', clock: manualClock() });
  const attributes = nodeAttributes('POST', '/exec/a/b/c');
  await Promise.all(Array.from({ length: 20 }, () => may(alice, attributes)));
  assert.equal(kube.asked.length, 1);
});

test('a refusal reads as the kubelet words it', async () => {
  const kube = api(() => ({ allowed: false }));
  const attributes = nodeAttributes('GET', '/pods');
  assert.equal(await authorizer({ kube, nodeName: 'n1', clock: manualClock() })(alice, attributes), false);
  assert.equal(
    forbiddenText(alice, attributes),
    'Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[pods proxy])\n',
  );
});

test('without an answer only the API server itself gets in, and only by certificate', async () => {
  const kube = api(unreachable);
  const may = authorizer({ kube, nodeName: 'n1', clock: manualClock() });
  const attributes = nodeAttributes('POST', '/exec/a/b/c');
  assert.equal(await may(master, attributes), true);
  await assert.rejects(may(alice, attributes), { code: 'KUBELET_AUTHORIZATION' });
  await assert.rejects(may({ ...master, via: 'token' }, attributes), { code: 'KUBELET_AUTHORIZATION' });
});

test('an API server that says no to system:masters is obeyed', async () => {
  const may = authorizer({ kube: api(() => ({ allowed: false })), nodeName: 'n1', clock: manualClock() });
  assert.equal(await may(master, nodeAttributes('GET', '/pods')), false);
});

test('a token is reviewed once in two minutes, a refused one again soon', async () => {
  const clock = manualClock();
  const kube = api(({ spec }) => ({
    authenticated: spec.token === 'good',
    user: { username: 'alice', uid: 'u', groups: ['dev'], extra: { k: ['v'] } },
  }));
  const review = tokenReviewer({ kube, clock, log: silentLogger });
  assert.deepEqual(await review('good'), {
    user: 'alice',
    uid: 'u',
    groups: ['dev', 'system:authenticated'],
    extra: { k: ['v'] },
    via: 'token',
  });
  clock.advance(119_000);
  await review('good');
  assert.equal(kube.asked.length, 1);
  clock.advance(2_000);
  await review('good');
  assert.equal(kube.asked.length, 2);
  assert.equal(await review('bad'), undefined);
  await review('bad');
  assert.equal(kube.asked.length, 3);
  clock.advance(11_000);
  await review('bad');
  assert.equal(kube.asked.length, 4);
});

test('what the API server answers is not believed blindly', async () => {
  for (const status of [
    {},
    { authenticated: true },
    { authenticated: true, user: { username: 5 } },
    { authenticated: 'yes', user: { username: 'x' } },
  ]) {
    const review = tokenReviewer({ kube: api(() => status), clock: manualClock(), log: silentLogger });
    assert.equal(await review('t'), undefined, JSON.stringify(status));
  }
  const review = tokenReviewer({ kube: api(unreachable), clock: manualClock(), log: silentLogger });
  assert.equal(await review('t'), undefined);
});

test('only bearer tokens are tokens', () => {
  assert.equal(bearerToken('Bearer abc'), 'abc');
  assert.equal(bearerToken('bearer abc'), 'abc');
  for (const header of [undefined, '', 'Basic abc', 'Bearer', 'Bearer  abc'])
    assert.equal(bearerToken(header), undefined);
});

test('a cache holds no more than its limit, the least used leaves first', () => {
  const clock = manualClock();
  const cache = new TtlCache<number>(2, clock);
  cache.set('a', 1, 100);
  cache.set('b', 2, 100);
  cache.get('a');
  cache.set('c', 3, 100);
  assert.deepEqual([cache.get('a'), cache.get('b'), cache.get('c')], [1, undefined, 3]);
  clock.advance(100);
  assert.equal(cache.get('a'), undefined);
  assert.equal(cache.size, 1);
});

test('the health page of the host answers without identity, and nothing else does', async () => {
  let sick = false;
  const server = new HealthzServer({
    bindAddress: '127.0.0.1',
    port: 0,
    checks: [
      {
        name: 'syncloop',
        check: () => {
          if (sick) throw new Error('the runtime is down');
        },
      },
    ],
    log: silentLogger,
  });
  await server.start(new AbortController().signal);
  const ask = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
    return [answer.status, await answer.text()];
  };
  assert.deepEqual(await ask('/healthz'), [200, 'ok']);
  assert.equal((await ask('/pods'))[0], 404);
  assert.deepEqual(await ask('/healthz?exclude=ping&exclude=other&verbose'), [
    200,
    '[+]ping excluded: ok\n[+]log ok\n[+]syncloop ok\nwarn: some health checks cannot be excluded: no matches for "other"\nhealthz check passed\n',
  ]);
  sick = true;
  assert.deepEqual(await ask('/healthz'), [
    500,
    '[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n',
  ]);
  assert.deepEqual(await ask('/healthz/syncloop'), [500, 'internal server error: the runtime is down\n']);
  await server.stop();
  await server.stop();
});
