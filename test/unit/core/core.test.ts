import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AgentError,
  addressAt,
  Coalescer,
  cidrContains,
  createBackoff,
  describeError,
  formatCpu,
  isGlobalUnicast,
  networkAddress,
  parseCidr,
  parseMilliCpu,
  parseQuantity,
  redact,
  registerSecret,
  Semaphore,
  splitHostPort,
  systemClock,
} from '../../../src/core/index.ts';

test('quantities of every suffix become numbers, nonsense a typed error', () => {
  assert.equal(parseQuantity('1.5Gi'), 1.5 * 2 ** 30);
  assert.equal(parseQuantity('128974848'), 128974848);
  assert.equal(parseQuantity('129e6'), 129e6);
  assert.equal(parseQuantity('129M'), 129e6);
  assert.equal(parseMilliCpu('0.1'), 100);
  assert.equal(parseMilliCpu('1u'), 1);
  assert.equal(formatCpu(1500), '1500m');
  assert.equal(formatCpu(2000), '2');
  for (const bad of ['', 'abc', '1.2.3', '1KiB', '--1', '9e999', 'Ki'])
    assert.throws(() => parseQuantity(bad), { code: 'QUANTITY_INVALID' }, bad);
});

test('no text makes the quantity parser fail otherwise than by its own error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        return Number.isFinite(parseQuantity(text));
      } catch (error) {
        return error instanceof AgentError;
      }
    }),
  );
});

test('address blocks: network, gateway, membership, both families', () => {
  assert.equal(networkAddress(parseCidr('10.42.3.7/24')), '10.42.3.0');
  assert.equal(addressAt(parseCidr('10.42.0.0/24'), 1), '10.42.0.1');
  assert.equal(addressAt(parseCidr('10.42.0.0/16'), 256), '10.42.1.0');
  assert.equal(addressAt(parseCidr('2001:db8::/64'), 1), '2001:db8::1');
  assert.ok(cidrContains(parseCidr('10.42.0.0/16'), '10.42.255.1'));
  assert.ok(!cidrContains(parseCidr('10.42.0.0/16'), 'fd00::1'));
  for (const bad of ['10.42.0.0', '10.42.0.0/33', 'x/8', '1.2.3.4/8/9', '::/129'])
    assert.throws(() => parseCidr(bad), { code: 'CIDR_INVALID' }, bad);
  assert.deepEqual(splitHostPort('[::1]:6443'), { host: '::1', port: 6443 });
  assert.equal(splitHostPort('::1:99999'), undefined);
  assert.ok(isGlobalUnicast('192.168.1.1'));
  assert.ok(!isGlobalUnicast('127.0.0.53'));
  assert.ok(!isGlobalUnicast('169.254.0.1'));
});

test('secrets are masked in texts, whether known by shape or registered', () => {
  registerSecret('hunter2hunter2');
  const text = redact(
    `token K10${'ab'.repeat(32)}::server:pw hunter2hunter2 Authorization: Bearer abcdefghijkl https://u:pw@h/`,
  );
  assert.doesNotMatch(text, /hunter2|server:pw|abcdefghijkl|u:pw/);
});

test('an error is described by its causes, each once', () => {
  const inner = new Error('connect ECONNREFUSED 10.0.0.1:6443');
  const text = describeError(new AgentError({ code: 'X', message: 'joining failed', cause: inner }));
  assert.equal(text, 'joining failed: connect ECONNREFUSED 10.0.0.1:6443');
  assert.match(describeError(new AggregateError([inner, new Error('other')], '')), /ECONNREFUSED.*other/);
});

test('a backoff grows to its limit and starts over after a reset', () => {
  const backoff = createBackoff({ initialMs: 100, maxMs: 1000, jitter: 0 });
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map(() => backoff.next()),
    [100, 200, 400, 800, 1000, 1000],
  );
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('a semaphore serves in order, gives back aborted places and survives a double release', async () => {
  const semaphore = new Semaphore(1);
  const first = await semaphore.acquire();
  const order: string[] = [];
  const abort = new AbortController();
  const aborted = semaphore.acquire(abort.signal);
  const second = semaphore.acquire().then((release) => {
    order.push('second');
    return release;
  });
  abort.abort();
  await assert.rejects(aborted, { name: 'AbortError' });
  first();
  first();
  (await second)();
  await semaphore.run(async () => void order.push('third'));
  assert.deepEqual(order, ['second', 'third']);
});

test('pokes during a run become one more run', async () => {
  let runs = 0;
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const coalescer = new Coalescer(async () => {
    runs++;
    await gate;
  });
  coalescer.poke();
  for (let i = 0; i < 10; i++) coalescer.poke();
  open();
  await coalescer.idle();
  assert.equal(runs, 2);
});

test('a wait of more days than a timer of Node can count does not end at once', async () => {
  const month = 31 * 86_400_000;
  const ended: string[] = [];
  const stop = new AbortController();
  const cancel = systemClock.after(month, () => ended.push('after'));
  const sleeping = systemClock.sleep(month, stop.signal).then(
    () => ended.push('sleep'),
    () => ended.push('aborted'),
  );
  await systemClock.sleep(20);
  assert.deepEqual(ended, []);
  cancel();
  stop.abort();
  await sleeping;
  assert.deepEqual(ended, ['aborted']);
});

test('a coalescer goes on after a round that throws before it waits for anything', async () => {
  let runs = 0;
  const coalescer = new Coalescer(() => {
    runs++;
    throw new Error('odd');
  });
  coalescer.poke();
  await coalescer.idle();
  coalescer.poke();
  await coalescer.idle();
  assert.equal(runs, 2);
});

test('secrets that change all the time do not pile up, those in use stay masked', () => {
  registerSecret('the-join-token');
  for (let i = 0; i < 5_000; i++) {
    registerSecret(`registry-token-${String(i).padStart(5, '0')}`);
    if (i % 100 === 0) registerSecret('the-join-token');
  }
  assert.equal(redact('registry-token-04999 the-join-token'), '******** ********');
  assert.equal(redact('registry-token-00001'), 'registry-token-00001');
});

test('a coalescer whose work pokes itself leaves others their turn', async () => {
  let rounds = 0;
  let stopped = false;
  const coalescer = new Coalescer(async () => {
    rounds++;
    if (!stopped) coalescer.poke();
  });
  coalescer.poke();
  await new Promise((resolve) => setTimeout(resolve, 5));
  stopped = true;
  await coalescer.idle();
  assert.ok(rounds > 1);
});
