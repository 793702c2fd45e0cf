import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  listedAddresses,
  nextCheck,
  type ServerEffect,
  type ServerEntry,
  type ServerEvent,
  transition,
} from '../../../src/loadbalancer/servers.ts';

const [A, B, C] = ['192.0.2.1:6443', '192.0.2.2:6443', '192.0.2.3:6443'] as const;

/** Plays events; time stands still but for `pass`. */
function play() {
  let servers: readonly ServerEntry[] = [];
  let now = 0;
  let effects: ServerEffect[] = [];
  const feed = (event: ServerEvent) => {
    const out = transition(servers, event, now);
    servers = out.servers;
    effects = [...effects, ...out.effects];
  };
  return {
    feed,
    /** Lets time pass, with the ticks the machine asked for. */
    pass(ms: number) {
      const end = now + ms;
      for (
        let wait = nextCheck(servers, now);
        wait !== undefined && now + wait <= end;
        wait = nextCheck(servers, now)
      ) {
        now += wait;
        feed({ type: 'tick' });
      }
      now = end;
    },
    start(...list: string[]) {
      feed({ type: 'default', address: A });
      if (list.length > 0) feed({ type: 'list', addresses: list });
    },
    ok: (address: string) => feed({ type: 'health', address, ok: true, reason: '' }),
    bad: (address: string) => feed({ type: 'health', address, ok: false, reason: 'gone' }),
    dial: (address: string) => feed({ type: 'dialled', address }),
    states: () => servers.map((s) => `${s.address} ${s.state}`),
    closed() {
      const out = effects.filter((e) => e.type === 'close-connections').map((e) => e.address);
      effects = [];
      return out;
    },
    get servers() {
      return servers;
    },
  };
}

test('the default server alone stands by, and stays the way in', () => {
  const p = play();
  p.start();
  assert.deepEqual(p.states(), [`${A} STANDBY`]);
  p.dial(A);
  assert.deepEqual(p.states(), [`${A} STANDBY`]);
  assert.deepEqual(listedAddresses(p.servers), []);
});

test('a server with a tunnel rises to PREFERRED within a second, and to ACTIVE when dialled', () => {
  const p = play();
  p.start(A, B);
  p.ok(B);
  assert.deepEqual(p.states()[0], `${B} RECOVERING`);
  p.pass(1_000);
  assert.deepEqual(p.states()[0], `${B} PREFERRED`);
  p.dial(B);
  assert.deepEqual(p.states()[0], `${B} ACTIVE`);
});

test('a preferred server nobody dials is merely healthy after a minute', () => {
  const p = play();
  p.start(A, B);
  p.ok(B);
  p.pass(62_000);
  assert.deepEqual(p.states()[0], `${B} HEALTHY`);
  assert.equal(nextCheck(p.servers, 62_000), undefined, 'nothing is left to wait for');
});

test('a failed tunnel closes the active server’s connections at once; the next in line takes over; it comes back', () => {
  const p = play();
  p.start(A, B);
  p.ok(A);
  p.ok(B);
  p.pass(1_000);
  p.dial(A);
  p.dial(A);
  assert.deepEqual(p.closed(), []);
  p.bad(A);
  assert.deepEqual(p.closed(), [A]);
  assert.deepEqual(p.states(), [`${B} PREFERRED`, `${A} FAILED`]);
  p.feed({ type: 'closed', address: A });
  p.feed({ type: 'closed', address: A });
  p.dial(B);
  p.ok(A);
  p.pass(1_000);
  assert.deepEqual(p.states(), [`${B} ACTIVE`, `${A} PREFERRED`]);
});

test('a failed tunnel says nothing about a server that is only recovering: its API may answer', () => {
  const p = play();
  p.start(A);
  p.dial(A);
  assert.deepEqual(p.states(), [`${A} RECOVERING`]);
  p.bad(A);
  assert.deepEqual(p.states(), [`${A} RECOVERING`]);
  p.feed({ type: 'dial-failed', address: A, error: 'refused' });
  assert.deepEqual(p.states(), [`${A} FAILED`]);
  assert.equal(p.servers[0]?.lastError, 'refused');
});

test('a newly active server takes over from the others, or steps back for a busier one', () => {
  const p = play();
  p.start(A, B, C);
  p.dial(C); // RECOVERING with one connection
  p.ok(A);
  p.ok(B);
  p.pass(1_000);
  p.dial(A);
  assert.deepEqual(p.closed(), [C], 'connections to a recovering server end');
  p.feed({ type: 'closed', address: C });
  p.dial(A);
  p.dial(B);
  assert.deepEqual(p.closed(), [B], 'A serves more');
  assert.deepEqual(p.states().slice(0, 2), [`${A} ACTIVE`, `${B} PREFERRED`]);
});

test('a server that leaves the list loses its connections; the original one is never forgotten', () => {
  const p = play();
  p.start(A, B);
  p.dial(A);
  p.dial(B);
  p.feed({ type: 'list', addresses: [C] });
  assert.deepEqual(p.closed().sort(), [A, B]);
  assert.deepEqual(p.states(), [`${C} UNCHECKED`, `${A} STANDBY`]);
  p.feed({ type: 'list', addresses: [A, C] });
  assert.deepEqual(p.states().sort(), [`${A} UNCHECKED`, `${C} UNCHECKED`]);
});

test('whatever happens: one active server at most, counts never negative, the default always there', () => {
  const address = fc.constantFrom(A, B, C);
  const event: fc.Arbitrary<ServerEvent> = fc.oneof(
    fc.record({ type: fc.constant('list' as const), addresses: fc.uniqueArray(address, { minLength: 1 }) }),
    fc.record({ type: fc.constantFrom('dialled' as const, 'closed' as const), address }),
    fc.record({ type: fc.constant('dial-failed' as const), address, error: fc.constant('x') }),
    fc.record({ type: fc.constant('health' as const), address, ok: fc.boolean(), reason: fc.constant('y') }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(event, fc.nat(70_000)), { maxLength: 60 }), (steps) => {
      const p = play();
      p.start();
      for (const [e, ms] of steps) {
        p.feed(e);
        p.pass(ms);
        assert.ok(p.servers.filter((s) => s.state === 'ACTIVE').length <= 1);
        assert.ok(p.servers.every((s) => s.connections >= 0));
        assert.ok(p.servers.some((s) => s.isDefault && s.address === A));
      }
    }),
  );
});
