import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Duplex, duplexPair, Writable } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import {
  Connections,
  decodeFrame,
  encodeData,
  encodeFrame,
  type Frame,
  type OpenLocal,
} from '../../../src/tunnel/index.ts';

interface Side {
  connections: Connections;
  sent: Frame[];
  reading: boolean;
}

function side(open: OpenLocal, deliver?: (frame: Buffer) => void): Side {
  const out: Side = { sent: [], reading: true } as unknown as Side;
  out.connections = new Connections({
    open,
    clock: systemClock,
    log: silentLogger,
    transport: {
      backedUp: false,
      send(frame) {
        out.sent.push(decodeFrame(Buffer.from(frame)));
        deliver?.(frame);
        return true;
      },
      pauseReading: () => {
        out.reading = false;
      },
      resumeReading: () => {
        out.reading = true;
      },
    },
  });
  return out;
}

const connectFrame = (id: number) => encodeFrame({ type: 'connect', id, proto: 'tcp', address: '127.0.0.1:10250' });
const types = (s: Side) => s.sent.map((f) => f.type);
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('bytes pass both ways and the end of either side is an EOF after the last data', async () => {
  let pod!: Duplex;
  const agent = side(() => {
    const [ours, theirs] = duplexPair();
    pod = theirs;
    return ours;
  });
  agent.connections.receive(connectFrame(2));
  agent.connections.receive(encodeData(2, Buffer.from('in')));
  const [got] = await once(pod, 'data');
  assert.equal(String(got), 'in');
  pod.end('out');
  await once(pod, 'close');
  assert.deepEqual(agent.sent, [
    { type: 'data', id: 2, data: Buffer.from('out') },
    { type: 'error', id: 2, text: 'EOF' },
  ]);
  assert.equal(agent.connections.size, 0);
});

test('an Error of the peer is answered with the same, after its earlier data reached the pod', async () => {
  let pod!: Duplex;
  const agent = side(() => {
    const [ours, theirs] = duplexPair();
    pod = theirs;
    return ours;
  });
  agent.connections.receive(connectFrame(2));
  agent.connections.receive(encodeData(2, Buffer.from('last words')));
  agent.connections.receive(encodeFrame({ type: 'error', id: 2, text: 'EOF' }));
  agent.connections.receive(encodeFrame({ type: 'error', id: 2, text: 'EOF' }));
  assert.deepEqual(agent.sent, [{ type: 'error', id: 2, text: 'EOF' }]);
  const chunks: Buffer[] = [];
  for await (const chunk of pod) chunks.push(chunk as Buffer);
  assert.equal(Buffer.concat(chunks).toString(), 'last words');
});

test('a refused Connect and data for an unknown id get an Error, the others go on', () => {
  const agent = side((_, address) => (address.endsWith(':22') ? 'connect not allowed' : duplexPair()[0]));
  agent.connections.receive(connectFrame(2));
  agent.connections.receive(encodeFrame({ type: 'connect', id: 3, proto: 'tcp', address: '127.0.0.1:22' }));
  agent.connections.receive(encodeData(9, Buffer.from('x')));
  assert.deepEqual(agent.sent, [
    { type: 'error', id: 3, text: 'connect not allowed' },
    { type: 'error', id: 9, text: 'connection not found client/0/9' },
  ]);
  assert.equal(agent.connections.size, 1);
});

test('the living connections are announced while there are any, and once after the last', () => {
  const agent = side(() => duplexPair()[0]);
  agent.connections.announce();
  agent.connections.receive(connectFrame(7));
  agent.connections.receive(connectFrame(2));
  agent.connections.announce();
  for (const id of [2, 7]) agent.connections.receive(encodeFrame({ type: 'error', id, text: 'EOF' }));
  agent.connections.announce();
  agent.connections.announce();
  const syncs = agent.sent.filter((f) => f.type === 'sync');
  assert.deepEqual(syncs, [
    { type: 'sync', id: 0, ids: [2, 7] },
    { type: 'sync', id: 0, ids: [] },
  ]);
});

/** A local side that takes nothing until told. */
function stuck(): { stream: Writable & Duplex; flow(): void } {
  let waiting: (() => void)[] = [];
  let flowing = false;
  const stream = new Writable({
    write(_chunk, _encoding, done) {
      if (flowing) done();
      else waiting.push(done);
    },
  }) as Writable & Duplex;
  Object.assign(stream, { pause: () => stream, resume: () => stream });
  return {
    stream,
    flow() {
      flowing = true;
      for (const done of waiting) done();
      waiting = [];
    },
  };
}

test('a slow pod pauses the server at 2 MiB and resumes it when little is left', async () => {
  const pod = stuck();
  const agent = side(() => pod.stream);
  agent.connections.receive(connectFrame(2));
  const piece = Buffer.alloc(32 * 1024);
  for (let i = 0; i < 63; i++) agent.connections.receive(encodeData(2, piece));
  assert.deepEqual(types(agent), []);
  for (let i = 0; i < 3; i++) agent.connections.receive(encodeData(2, piece));
  assert.deepEqual(types(agent), ['pause']);
  pod.flow();
  while (agent.connections.waiting > 0) await turn();
  assert.deepEqual(types(agent), ['pause', 'resume']);
});

test('a server that lost our Pause is told again', () => {
  const agent = side(() => stuck().stream);
  agent.connections.receive(connectFrame(2));
  const piece = Buffer.alloc(32 * 1024);
  for (let i = 0; i < 66; i++) agent.connections.receive(encodeData(2, piece));
  agent.connections.receive(encodeFrame({ type: 'resume', id: 2 }));
  agent.connections.receive(encodeData(2, piece));
  for (let i = 0; i < 10; i++) agent.connections.receive(encodeData(2, piece));
  assert.deepEqual(types(agent), ['pause', 'pause', 'pause']);
});

test('a server that knows no Pause stalls the websocket, bounded, and the stuck connection is given up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const agent = side(() => stuck().stream);
  agent.connections.receive(connectFrame(2));
  agent.connections.receive(connectFrame(3));
  const piece = Buffer.alloc(32 * 1024);
  let pieces = 0;
  while (agent.reading && pieces < 10_000) {
    agent.connections.receive(encodeData(2, piece));
    pieces++;
  }
  assert.ok(agent.connections.waiting < 9 * 1024 * 1024, `${agent.connections.waiting} bytes held`);
  t.mock.timers.tick(4_000);
  await Promise.resolve();
  assert.ok(agent.reading);
  assert.equal(agent.connections.size, 1);
  assert.deepEqual(agent.sent.at(-1), { type: 'error', id: 2, text: 'backed up reader' });
});

test('a flood of tiny pieces is bounded by what it costs, not by its bytes alone', () => {
  const agent = side(() => stuck().stream);
  agent.connections.receive(connectFrame(2));
  for (let i = 0; i < 8_500; i++) agent.connections.receive(encodeData(2, Buffer.from('x')));
  assert.equal(types(agent)[0], 'pause');
});

test('10,000 random frames neither throw nor leave anything behind', async () => {
  const frame = fc.oneof(
    fc.record({ type: fc.constant('data' as const), id: fc.nat(5), data: fc.constant(Buffer.from('abc')) }),
    fc.record({
      type: fc.constant('connect' as const),
      id: fc.nat(5),
      proto: fc.constant('tcp'),
      address: fc.string(),
    }),
    fc.record({ type: fc.constant('error' as const), id: fc.nat(5), text: fc.string() }),
    fc.record({ type: fc.constantFrom('pause' as const, 'resume' as const), id: fc.nat(5) }),
    fc.record({ type: fc.constant('sync' as const), id: fc.constant(0), ids: fc.array(fc.nat(5)) }),
  );
  const pods: Duplex[] = [];
  const agent = side(() => {
    const [ours, theirs] = duplexPair();
    theirs.on('error', () => {});
    theirs.resume();
    pods.push(theirs);
    return ours;
  });
  for (const f of fc.sample(frame, 10_000)) agent.connections.receive(encodeFrame(f as Frame));
  for (const pod of pods) pod.destroy();
  agent.connections.abandon();
  for (let i = 0; i < 20; i++) await turn();
  assert.equal(agent.connections.size, 0);
  assert.equal(agent.connections.waiting, 0);
});
