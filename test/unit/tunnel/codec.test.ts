import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame, encodeFrame, type Frame, type Int64 } from '../../../src/tunnel/index.ts';

const MIN = -(2n ** 63n);
const MAX = 2n ** 63n - 1n;

/** Byte for byte what Go's remotedialer writes for message id 5. */
const golden: [string, Frame][] = [
  ['0a0402b0ea016869', { type: 'data', id: 2, data: Buffer.from('hi') }],
  ['0a0404b0ea017463702f3132372e302e302e313a3130323530', connect(2, 'tcp', '127.0.0.1:10250')],
  ['0a0406454f46', { type: 'error', id: 2, text: 'EOF' }],
  ['0a040c', { type: 'pause', id: 2 }],
  ['0a800e0e', { type: 'resume', id: 896 }],
  ['0a001002000000000000000300000000000000', { type: 'sync', id: 0, ids: [2, 3] }],
  ['0a0008612f37', { type: 'addClient', id: 0, client: 'a/7' }],
  ['0a000a612f37', { type: 'removeClient', id: 0, client: 'a/7' }],
];

function connect(id: Int64, proto: string, address: string): Frame {
  return { type: 'connect', id, proto, address };
}

test('frames have the bytes Go writes, both ways', () => {
  for (const [hex, frame] of golden) {
    assert.equal(encodeFrame(frame, 5).toString('hex'), hex, frame.type);
    assert.deepEqual(decodeFrame(Buffer.from(hex, 'hex')), frame);
  }
});

test('the ends of int64 are written as Go does', () => {
  assert.equal(encodeFrame({ type: 'pause', id: MIN }, 0).toString('hex'), '00ffffffffffffffffff010c');
  assert.equal(encodeFrame({ type: 'pause', id: MAX }, 0).toString('hex'), '00feffffffffffffffff010c');
  assert.deepEqual(decodeFrame(Buffer.from('00ffffffffffffffffff010c', 'hex')), { type: 'pause', id: MIN });
});

const id = fc
  .oneof(fc.bigInt({ min: MIN, max: MAX }), fc.bigInt({ min: -70000n, max: 70000n }))
  .map((n): Int64 => (Number.isSafeInteger(Number(n)) ? Number(n) : n));
const anyFrame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant('data' as const),
    id,
    data: fc.uint8Array({ maxLength: 300 }).map((a) => Buffer.from(a)),
  }),
  fc.record({
    type: fc.constant('connect' as const),
    id,
    proto: fc.constantFrom('tcp', 'udp', ''),
    address: fc.string({ maxLength: 60 }),
  }),
  fc.record({ type: fc.constant('error' as const), id, text: fc.string({ maxLength: 25 }) }),
  fc.record({ type: fc.constantFrom('pause' as const, 'resume' as const), id }),
  fc.record({ type: fc.constant('sync' as const), id, ids: fc.array(id, { maxLength: 20 }) }),
);

test('every frame survives the way through bytes, whatever its ids', () => {
  fc.assert(
    fc.property(anyFrame, id, (frame, messageId) => {
      assert.deepEqual(decodeFrame(encodeFrame(frame, messageId)), { ...frame });
    }),
  );
});

test('10,000 random messages are a frame or a TUNNEL_FRAME error, never anything else', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 64 }),
        fc.tuple(fc.constantFrom(...golden.map(([hex]) => hex)), fc.nat(), fc.nat(255)).map(([hex, at, byte]) => {
          const bytes = Buffer.from(hex, 'hex');
          bytes[at % bytes.length] = byte;
          return bytes;
        }),
      ),
      (bytes) => {
        try {
          decodeFrame(Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'TUNNEL_FRAME');
        }
      },
    ),
    { numRuns: 10_000 },
  );
});

test('broken frames are told from odd ones', () => {
  const refused = [
    '',
    '0a',
    '0a04',
    '0a0402',
    '0a0404b0ea01746370',
    'ffffffffffffffffffff0104',
    '0a001001',
    '0a000a61',
  ];
  for (const hex of refused) assert.throws(() => decodeFrame(Buffer.from(hex, 'hex')), { code: 'TUNNEL_FRAME' }, hex);
  assert.deepEqual(decodeFrame(Buffer.from('0a0412', 'hex')), { type: 'unknown', id: 2, number: 9 });
});

test('an error text is cut to what peers read, between characters', () => {
  const bytes = encodeFrame({ type: 'error', id: 2, text: 'ä'.repeat(80) }, 1);
  assert.deepEqual(decodeFrame(bytes), { type: 'error', id: 2, text: 'ä'.repeat(50) });
  assert.ok(bytes.length <= 3 + 100);
});
