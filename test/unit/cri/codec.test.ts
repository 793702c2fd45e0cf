import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { containerdSchema } from '../../../src/cri/proto/containerd.ts';
import { criSchema } from '../../../src/cri/proto/cri.ts';
import { decode, defineSchema, encode, WireError } from '../../../src/grpc/index.ts';

const schema = defineSchema({
  enums: { Color: { names: ['RED', 'GREEN'], fallback: 'GREY' } },
  messages: {
    Inner: 'text=1',
    All: 'n=1:int32 big=2:int64 u=3:uint64 s=4 b=5:bytes ok=6:bool list=7:int64[] words=8:string[] map=9:map color=10:Color inner=11:Inner must=12:Inner! many=13:Inner[] boxed=14:value',
    Deep: 'deep=1:Deep',
  },
});

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('the protobuf codec', () => {
  it('writes the bytes protobuf prescribes', () => {
    assert.equal(encode(schema, 'All', { n: 150 }).toString('hex'), '089601');
    assert.equal(encode(schema, 'All', { n: -2 }).toString('hex'), '08feffffffffffffffff01');
    assert.equal(encode(schema, 'All', { s: 'testing' }).toString('hex'), '220774657374696e67');
    assert.equal(encode(schema, 'All', { list: [3, 270, 86942] }).toString('hex'), '3a06038e029ea705');
    assert.equal(encode(schema, 'All', { map: { a: 'b' } }).toString('hex'), '4a060a0161120162');
    assert.equal(encode(schema, 'All', { boxed: 5, inner: {} }).toString('hex'), '5a0072020805');
    assert.equal(encode(schema, 'All', { n: 0, s: '', ok: false, color: 'RED' }).length, 0);
  });

  it('fills in what is absent and keeps absent messages apart from empty ones', () => {
    const value = decode(schema, 'All', Buffer.alloc(0)) as Record<string, unknown>;
    assert.deepEqual(
      { ...value, b: undefined },
      {
        n: 0,
        big: 0,
        u: 0,
        s: '',
        b: undefined,
        ok: false,
        list: [],
        words: [],
        map: {},
        color: 'RED',
        inner: undefined,
        must: { text: '' },
        many: [],
        boxed: undefined,
      },
    );
    assert.deepEqual((decode(schema, 'All', hex('5a00')) as { inner: unknown }).inner, { text: '' });
  });

  it('reads lists packed and one by one, and unknown fields and enum numbers without harm', () => {
    assert.deepEqual((decode(schema, 'All', hex('3a03018e02')) as { list: number[] }).list, [1, 270]);
    assert.deepEqual((decode(schema, 'All', hex('3801 388e02')) as { list: number[] }).list, [1, 270]);
    // fields 100 (length), 101 (varint), 102 (64 bit), 103 (32 bit), then n
    const bytes = hex('a20603616263 a8068001 b1060102030405060708 bd0601020304 082a');
    assert.equal((decode(schema, 'All', bytes) as { n: number }).n, 42);
    assert.equal((decode(schema, 'All', hex('5007')) as { color: string }).color, 'GREY');
    assert.equal((decode(schema, 'All', hex('0a0161')) as { n: number }).n, 0, 'another wire type than expected');
  });

  it('round-trips any value', () => {
    const inner = fc.record({ text: fc.string({ unit: 'grapheme' }) }, { noNullPrototype: true });
    const value = fc.record({
      n: fc.integer(),
      big: fc.maxSafeInteger(),
      u: fc.maxSafeNat(),
      s: fc.string({ unit: 'grapheme', maxLength: 300 }),
      b: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      ok: fc.boolean(),
      list: fc.array(fc.maxSafeInteger()),
      words: fc.array(fc.string({ unit: 'grapheme' })),
      map: fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string(), { noNullPrototype: true }),
      color: fc.constantFrom('RED', 'GREEN'),
      inner: fc.option(inner, { nil: undefined }),
      must: inner,
      many: fc.array(inner),
      boxed: fc.option(fc.maxSafeInteger(), { nil: undefined }),
    });
    fc.assert(
      fc.property(value, (v) => {
        assert.deepEqual(decode(schema, 'All', encode(schema, 'All', v)), { ...v });
      }),
      { numRuns: 500 },
    );
  });

  it('keeps a map key named like a property of every object', () => {
    const map = JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, string>;
    const back = decode(schema, 'All', encode(schema, 'All', { map })) as { map: Record<string, string> };
    assert.deepEqual(Object.entries(back.map).sort(), Object.entries(map).sort());
  });

  it('keeps nanosecond times as near as a number can', () => {
    // 1795515671696089123, of which a number can hold the first sixteen digits
    const bytes = hex('20 a3c0dec0d8ffbcf518');
    const { createdAt } = decode(criSchema, 'ContainerStatus', bytes) as { createdAt: number };
    assert.equal(Math.round(createdAt / 1e6), 1795515671696);
    const again = decode(criSchema, 'ContainerStatus', encode(criSchema, 'ContainerStatus', { createdAt }));
    assert.equal((again as { createdAt: number }).createdAt, createdAt);
  });

  it('reads 10,000 random byte strings as any message and never throws anything but WireError', () => {
    const schemas = [criSchema, containerdSchema, schema];
    const names = schemas.flatMap((s) => Object.keys(s.messages).map((name) => ({ s, name })));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(names.length - 1), (bytes, i) => {
        const { s, name } = names[i] as (typeof names)[number];
        try {
          decode(s, name, bytes);
        } catch (error) {
          assert.ok(error instanceof WireError, String(error));
        }
      }),
      { numRuns: 10_000 },
    );
  });

  it('reads cut and altered messages as safely', () => {
    const whole = encode(criSchema, 'ContainerStatusResponse', {
      status: {
        id: 'x'.repeat(64),
        metadata: { name: 'c', attempt: 3 },
        labels: { a: 'b' },
        mounts: [{ hostPath: '/a', containerPath: '/b' }],
      },
    });
    fc.assert(
      fc.property(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), (end, at, by) => {
        const bytes = Buffer.from(whole.subarray(0, end));
        if (at < end) bytes[at] = by;
        try {
          decode(criSchema, 'ContainerStatusResponse', bytes);
        } catch (error) {
          assert.ok(error instanceof WireError);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it('bounds depth and the number of messages', () => {
    const nested = (depth: number): Buffer => {
      let bytes = Buffer.alloc(0);
      for (let i = 0; i < depth; i++) {
        const size: number[] = [];
        for (let n = bytes.length; ; n >>>= 7) {
          size.push(n > 0x7f ? (n & 0x7f) | 0x80 : n);
          if (n <= 0x7f) break;
        }
        bytes = Buffer.concat([Buffer.from([0x0a, ...size]), bytes]);
      }
      return bytes;
    };
    assert.throws(() => decode(schema, 'Deep', nested(2_000)), WireError);
    const many = Buffer.alloc(600_000, Buffer.from([0x6a, 0x00]));
    assert.throws(() => decode(schema, 'All', many), WireError);
  });
});
