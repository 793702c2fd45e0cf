import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type DBusMessage,
  decodeMessage,
  encodeMessage,
  METHOD_CALL,
  messageLength,
  splitSignature,
} from '../../../../src/host/dbus/wire.ts';

const hex = (text: string) => Buffer.from(text).toString('hex');
/** AddMatch("x") to the bus: header, then its fields, each padded to eight bytes, then the body. */
const CALL = [
  '6c01000106000000020000006f000000',
  '01016f00010000002f00000000000000',
  `0201730014000000${hex('org.freedesktop.DBus')}00000000`,
  `0301730008000000${hex('AddMatch')}0000000000000000`,
  `0601730014000000${hex('org.freedesktop.DBus')}00000000`,
  '0801670001730000',
  '010000007800',
].join('');

test('a call is written byte for byte as the specification says', () => {
  const bytes = encodeMessage({
    type: METHOD_CALL,
    serial: 2,
    path: '/',
    interface: 'org.freedesktop.DBus',
    member: 'AddMatch',
    destination: 'org.freedesktop.DBus',
    signature: 's',
    body: ['x'],
  });
  assert.equal(bytes.toString('hex'), CALL);
  assert.equal(bytes.length, messageLength(bytes));
  const read = decodeMessage(bytes);
  assert.equal(read.member, 'AddMatch');
  assert.deepEqual(read.body, ['x']);
});

test('what is written is read back, whatever it holds', () => {
  const body = fc.tuple(
    fc.string(),
    fc.boolean(),
    fc.nat(2 ** 32 - 1),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.array(fc.string()),
  );
  fc.assert(
    fc.property(body, fc.nat(2 ** 32 - 1), ([text, flag, number, long, list], serial) => {
      const clean = (value: string) => value.replaceAll('\0', '').toWellFormed();
      const values = [
        clean(text),
        flag,
        number,
        long,
        list.map(clean),
        { signature: '(su)', value: [clean(text), number] },
      ];
      const message: Omit<DBusMessage, 'flags'> = { type: 4, serial, path: '/a', signature: 'sbutasv', body: values };
      const bytes = encodeMessage(message);
      assert.equal(messageLength(bytes), bytes.length);
      assert.deepEqual(decodeMessage(bytes).body, values);
    }),
  );
});

test('bytes of a broken bus are an error, never a hang', () => {
  const good = encodeMessage({
    type: 4,
    serial: 1,
    path: '/a',
    signature: 'sv',
    body: ['x', { signature: 'u', value: 1 }],
  });
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), (at, byte) => {
      const bytes = Buffer.from(good);
      bytes[at] = byte;
      try {
        const length = messageLength(bytes);
        if (length !== undefined && length <= bytes.length) decodeMessage(bytes.subarray(0, length));
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 2_000 },
  );
  assert.throws(() => messageLength(Buffer.from('HTTP/1.1 400 Bad Request')), /not a D-Bus message/);
  const huge = Buffer.from(good);
  huge.writeUInt32LE(0x7fffffff, 4);
  assert.throws(() => messageLength(huge), /a D-Bus message of/);
});

test('signatures are split at their types', () => {
  assert.deepEqual(splitSignature('sa{sv}(uay)au'), ['s', 'a{sv}', '(uay)', 'au']);
  for (const bad of ['a', '(s', 'z', '('.repeat(80), '()', 'a()', 'a{}'])
    assert.throws(() => splitSignature(bad), /malformed/);
});
