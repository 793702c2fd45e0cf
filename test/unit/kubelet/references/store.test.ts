import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { errorCode, silentLogger } from '../../../../src/core/index.ts';
import { KubeError } from '../../../../src/kube/index.ts';
import { createReferences, type Reference, type References } from '../../../../src/kubelet/references/index.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { FakeReferenceApi } from '../../../fakes/reference-api.ts';

const signal = new AbortController().signal;
const cm = (name: string): Reference => ({ kind: 'ConfigMap', namespace: 'ns', name });

describe('references', () => {
  let api: FakeReferenceApi;
  let clock: FakeClock;
  let references: References;
  let changes: string[];

  beforeEach(async () => {
    api = new FakeReferenceApi();
    clock = new FakeClock();
    references = createReferences({ client: api.client, clock, log: silentLogger });
    changes = [];
    references.onChange((ref, holders) => changes.push(`${ref.name}:${[...holders].join(',')}`));
    await references.start(signal);
  });
  afterEach(() => references.stop());
  const gets = (name: string) => api.requests.filter((r) => r.startsWith('GET') && r.endsWith(`/${name}`)).length;
  const hold = (uid: string, followed: Reference[]) => references.hold(uid, { followed, kept: [] });
  const data = async (name: string) => (await references.get(cm(name), signal)).data;

  it('asks once for all who want the same object at one time, and anew for those who come later', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    await Promise.all(Array.from({ length: 20 }, () => data('a')));
    assert.equal(gets('a'), 1);
    api.put('ConfigMap', 'ns', 'a', { k: '2' });
    await clock.advance(3_000);
    assert.deepEqual(await data('a'), { k: '2' });
  });

  it('says that an object is absent, and that an unreachable one is unknown', async () => {
    await assert.rejects(data('none'), (e: Error) => {
      assert.equal(errorCode(e), 'REFERENCE_ABSENT');
      assert.equal(e.message, 'configmap "none" not found');
      return true;
    });
    api.down();
    await assert.rejects(data('other'), (e: Error) => errorCode(e) === 'REFERENCE_UNKNOWN');
  });

  it('tells who holds an object when it changes, appears and goes', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    hold('pod-1', [cm('a'), cm('late')]);
    await data('a');
    await assert.rejects(data('late'));
    await settle();
    api.put('ConfigMap', 'ns', 'a', { k: '2' });
    api.put('ConfigMap', 'ns', 'late', { k: 'x' });
    await settle();
    assert.deepEqual(changes.sort(), ['a:pod-1', 'late:pod-1']);
    const before = gets('a');
    assert.deepEqual(await data('a'), { k: '2' });
    assert.equal(gets('a'), before, 'what is watched is not asked for');
    api.remove('ConfigMap', 'ns', 'a');
    await settle();
    await assert.rejects(data('a'), (e: Error) => errorCode(e) === 'REFERENCE_ABSENT');
  });

  it('watches each object once, whoever holds it, and no longer than that', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    hold('pod-1', [cm('a')]);
    hold('pod-2', [cm('a')]);
    await settle();
    assert.equal(api.watchers.size, 1);
    references.release('pod-1');
    await settle();
    assert.equal(api.watchers.size, 1);
    references.release('pod-2');
    await settle();
    assert.equal(api.watchers.size, 0);
  });

  it('watches neither immutable objects nor the CA bundle', async () => {
    api.put('ConfigMap', 'ns', 'fixed', { k: '1' }, { immutable: true });
    api.put('ConfigMap', 'ns', 'kube-root-ca.crt', { 'ca.crt': 'x' });
    await data('fixed');
    hold('pod-1', [cm('fixed'), cm('kube-root-ca.crt')]);
    await settle();
    assert.equal(api.watchers.size, 0);
    await data('kube-root-ca.crt');
    await clock.advance(60_000);
    await data('kube-root-ca.crt');
    await data('fixed');
    assert.equal(gets('kube-root-ca.crt') + gets('fixed'), 2);
  });

  it('keeps the number of watches bounded and looks at the rest now and then', async () => {
    const all = Array.from({ length: 80 }, (_, i) => cm(`c${i}`));
    for (const { name } of all) api.put('ConfigMap', 'ns', name, { k: '1' });
    hold('pod-1', all);
    for (const { name } of all) await data(name);
    await settle();
    assert.equal(api.watchers.size, 64);
    api.put('ConfigMap', 'ns', 'c79', { k: '2' });
    await clock.advance(31_000);
    await settle();
    assert.deepEqual(changes, ['c79:pod-1']);
  });

  it('gives the last known content while the server is away, and catches up when it is back', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    hold('pod-1', [cm('a')]);
    await data('a');
    await settle();
    api.down();
    await clock.advance(3_600_000);
    assert.deepEqual(await data('a'), { k: '1' });
    api.put('ConfigMap', 'ns', 'a', { k: '2' });
    api.up();
    await settle();
    assert.deepEqual(await data('a'), { k: '2' });
    assert.deepEqual(changes, ['a:pod-1']);
  });

  it('notices what was deleted, changed and made anew while it could not watch', async () => {
    for (const name of ['gone', 'changed']) api.put('ConfigMap', 'ns', name, { k: '1' });
    hold('pod-1', [cm('gone'), cm('changed')]);
    for (const name of ['gone', 'changed']) await data(name);
    await settle();
    api.down();
    await settle();
    api.remove('ConfigMap', 'ns', 'gone');
    api.put('ConfigMap', 'ns', 'changed', { k: '2' });
    api.up();
    await settle();
    assert.deepEqual(changes.sort(), ['changed:pod-1', 'gone:pod-1']);
    await assert.rejects(data('gone'), (e: Error) => errorCode(e) === 'REFERENCE_ABSENT');
    api.put('ConfigMap', 'ns', 'gone', { k: '3' });
    await settle();
    assert.deepEqual(await data('gone'), { k: '3' });
  });

  it('hears of changes from a server that was restored from a backup', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    const backup = api.backup();
    hold('pod-1', [cm('a')]);
    await data('a');
    for (let i = 2; i < 50; i++) api.put('ConfigMap', 'ns', 'a', { k: `${i}` });
    await settle();
    assert.deepEqual(await data('a'), { k: '49' });
    api.down();
    await settle();
    api.restore(backup);
    api.up();
    await settle();
    assert.deepEqual(await data('a'), { k: '1' });
    api.put('ConfigMap', 'ns', 'a', { k: 'after' });
    await settle();
    assert.deepEqual(await data('a'), { k: 'after' });
  });

  it('keeps what environments name, without a watch, for restarts while the server is away', async () => {
    api.put('ConfigMap', 'ns', 'env', { k: '1' });
    references.hold('pod-1', { followed: [], kept: [cm('env')] });
    await data('env');
    await settle();
    assert.equal(api.watchers.size, 0);
    api.down();
    for (let i = 0; i < 100; i++) await references.get(cm(`other${i}`), signal).catch(() => {});
    await clock.advance(3_600_000);
    assert.deepEqual(await data('env'), { k: '1' });
    references.release('pod-1');
    await assert.rejects(data('env'), (e: Error) => errorCode(e) === 'REFERENCE_UNKNOWN');
  });

  it('asks again when the server does not know yet that the pod is here', async () => {
    api.put('ConfigMap', 'ns', 'a', { k: '1' });
    api.fault = new KubeError({ status: 403, message: 'no relationship found' });
    const asked = data('a');
    await settle();
    api.fault = undefined;
    await clock.advance(200);
    assert.deepEqual(await asked, { k: '1' });
  });

  it('forgets objects that nobody holds', async () => {
    for (let i = 0; i < 300; i++) {
      api.put('ConfigMap', 'ns', `t${i}`, { k: '1' });
      await data(`t${i}`);
    }
    await data('t0');
    assert.equal(gets('t0'), 2);
  });

  it('ends a wait with its signal', async () => {
    const stuck = new AbortController();
    api.fault = new KubeError({ status: 403, message: 'not yet' });
    const asked = references.get(cm('a'), stuck.signal);
    await settle();
    stuck.abort();
    await assert.rejects(asked, { name: 'AbortError' });
  });
});
