import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/core/index.ts';
import { KubeError, KubeEventRecorder } from '../../../src/kube/index.ts';
import { FakeClock, settle } from '../../fakes/clock.ts';

interface Call {
  verb: string;
  path: string;
  body: { count?: number; reason?: string; message?: string; type?: string; metadata?: { name: string } };
}

function setUp(whenQuiet?: (signal: AbortSignal) => Promise<void>) {
  const clock = new FakeClock();
  const calls: Call[] = [];
  const state = { away: false, refuse: undefined as number | undefined };
  const wakers = new Set<() => void>();
  const act = async (verb: string, path: string, body: Call['body']) => {
    if (state.away) throw new KubeError({ status: 0, message: 'no server' });
    if (state.refuse) throw new KubeError({ status: state.refuse, message: 'no' });
    calls.push({ verb, path, body });
    return undefined as never;
  };
  const recorder = new KubeEventRecorder({
    client: {
      create: (path: string, body: unknown) => act('create', path, body as Call['body']),
      patch: (path: string, _: string, body: unknown) => act('patch', path, body as Call['body']),
      onReachable: (fn: () => void) => {
        wakers.add(fn);
        return () => wakers.delete(fn);
      },
    },
    component: 'kubelet',
    host: 'n1',
    clock,
    log: silentLogger,
    ...(whenQuiet ? { whenQuiet } : {}),
  });
  const back = () => {
    state.away = false;
    for (const fn of [...wakers]) fn();
  };
  return { clock, calls, state, recorder, back };
}
const pod = (name: string) => ({ apiVersion: 'v1', kind: 'Pod', namespace: 'ns', name, uid: `uid-${name}` });

describe('events', () => {
  it('have the shape of upstream', async () => {
    const { calls, recorder, clock } = setUp();
    recorder.event({ ...pod('a'), fieldPath: 'spec.containers{main}' }, 'Normal', 'Started', 'Container started');
    await settle();
    assert.equal(calls[0]?.path, '/api/v1/namespaces/ns/events');
    const { metadata, ...body } = calls[0]?.body ?? {};
    assert.match(metadata?.name ?? '', /^a\.[0-9a-f]{16}$/);
    assert.deepEqual(body, {
      apiVersion: 'v1',
      kind: 'Event',
      involvedObject: { ...pod('a'), fieldPath: 'spec.containers{main}' },
      reason: 'Started',
      message: 'Container started',
      source: { component: 'kubelet', host: 'n1' },
      firstTimestamp: '2026-11-24T10:00:00Z',
      lastTimestamp: '2026-11-24T10:00:00Z',
      count: 1,
      type: 'Normal',
      eventTime: null,
      reportingComponent: 'kubelet',
      reportingInstance: 'n1',
    });
    assert.equal(clock.timers, 0);
  });

  it('that are alike are one object with a count, also after the server forgot it', async () => {
    const { calls, recorder, clock, state } = setUp();
    for (let i = 0; i < 3; i++) {
      recorder.event(pod('a'), 'Warning', 'BackOff', 'again');
      await settle();
    }
    assert.deepEqual(
      calls.map((c) => [c.verb, c.body.count]),
      [
        ['create', 1],
        ['patch', 2],
        ['patch', 3],
      ],
    );
    state.refuse = 404;
    recorder.event(pod('a'), 'Warning', 'BackOff', 'again');
    await settle();
    state.refuse = undefined;
    await clock.advance(1_000);
    recorder.event(pod('a'), 'Warning', 'BackOff', 'again');
    await settle();
    assert.equal(calls.at(-1)?.verb, 'create');
  });

  it('of one object are let through 25 at once, then one in five minutes', async () => {
    const { calls, recorder, clock } = setUp();
    for (let i = 0; i < 100; i++) recorder.event(pod('noisy'), 'Warning', 'Unhealthy', `failure ${i}`);
    recorder.event(pod('quiet'), 'Normal', 'Started', 'x');
    await settle();
    await clock.advance(10);
    assert.equal(calls.length, 26);
    await clock.advance(301_000);
    for (let i = 0; i < 5; i++) recorder.event(pod('noisy'), 'Warning', 'Unhealthy', `later ${i}`);
    await clock.advance(10);
    assert.equal(calls.length, 27);
  });

  it('wait for a server that is away in bounded number, ordinary ones dropped first', async () => {
    const { calls, recorder, clock, state, back } = setUp();
    state.away = true;
    for (let i = 0; i < 100; i++) recorder.event(pod(`w${i}`), 'Warning', 'Failed', 'x');
    for (let i = 0; i < 2_000; i++) recorder.event(pod(`n${i}`), 'Normal', 'Started', 'x');
    await clock.advance(120_000);
    assert.ok(recorder.pending <= 501);
    back();
    await clock.advance(10);
    for (let i = 0; i < 200; i++) await settle();
    assert.equal(calls.filter((c) => c.body.type === 'Warning').length, 100);
    assert.ok(calls.length <= 501);
    assert.equal(recorder.pending, 0);
  });

  it('give way to others, but not for ever', async () => {
    const { calls, recorder, clock } = setUp(
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('enough')))),
    );
    recorder.event(pod('a'), 'Normal', 'Started', 'x');
    await clock.advance(4_000);
    assert.equal(calls.length, 0);
    await clock.advance(2_000);
    assert.equal(calls.length, 1);
  });

  it('that the server refuses are dropped', async () => {
    const { calls, recorder, state, clock } = setUp();
    state.refuse = 403;
    recorder.event(pod('a'), 'Normal', 'Started', 'x');
    await clock.advance(60_000);
    assert.equal(recorder.pending, 0);
    state.refuse = undefined;
    recorder.event(pod('a'), 'Normal', 'Started', 'y');
    await settle();
    assert.equal(calls.length, 1);
  });
});
