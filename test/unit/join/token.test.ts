import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AgentError } from '../../../src/core/index.ts';
import { authorization, formatToken, parseToken } from '../../../src/join/index.ts';

const HASH = 'ab'.repeat(32);

test('every form of a token is read', () => {
  const cases: [string, ReturnType<typeof parseToken>][] = [
    [`K10${HASH}::server:pw`, { caHash: HASH, credentials: { kind: 'basic', user: 'server', password: 'pw' } }],
    [`K10${HASH}::node:p:w::x`, { caHash: HASH, credentials: { kind: 'basic', user: 'node', password: 'p:w::x' } }],
    [
      `K10${HASH}::abcdef.0123456789abcdef`,
      { caHash: HASH, credentials: { kind: 'bearer', token: 'abcdef.0123456789abcdef' } },
    ],
    [
      'abcdef.0123456789abcdef',
      { caHash: undefined, credentials: { kind: 'bearer', token: 'abcdef.0123456789abcdef' } },
    ],
    ['just a password', { caHash: undefined, credentials: { kind: 'basic', user: '', password: 'just a password' } }],
    ['user:pw', { caHash: undefined, credentials: { kind: 'basic', user: '', password: 'user:pw' } }],
    ['K10user:pw', { caHash: undefined, credentials: { kind: 'basic', user: 'user', password: 'pw' } }],
    ['K10::user:pw', { caHash: undefined, credentials: { kind: 'basic', user: 'user', password: 'pw' } }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseToken(text), expected, text);
});

test('cut tokens are refused, saying how', () => {
  assert.throws(() => parseToken(''), /empty/);
  assert.throws(() => parseToken(`K10${HASH.slice(1)}::server:pw`), /63 characters instead of 64/);
  assert.throws(() => parseToken(`K10${HASH}::server:`), /password in the token is empty/);
  assert.throws(() => parseToken(`K10${HASH}`), /no password part/);
});

test('a formatted token is read back as it was', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9:]{1,20}$/), fc.boolean(), (password, hashed) => {
      const token = formatToken(hashed ? HASH : '', { kind: 'basic', user: 'node', password });
      const back = parseToken(token);
      assert.deepEqual(back, {
        caHash: hashed ? HASH : undefined,
        credentials: { kind: 'basic', user: 'node', password },
      });
    }),
  );
});

test('random tokens never crash it and are never in the error', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string().map((s) => `K10${s}`),
    fc.stringMatching(/^K10[0-9a-f]{60,66}::.{0,9}$/),
  );
  fc.assert(
    fc.property(text, (token) => {
      try {
        authorization(parseToken(token).credentials);
      } catch (error) {
        if (error instanceof AgentError) assert.ok(token.length < 12 || !error.message.includes(token));
        else throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

test('the header is Basic for passwords, Bearer for bootstrap tokens, none for a user without a name', () => {
  assert.equal(authorization({ kind: 'basic', user: 'node', password: 'pw' }), 'Basic bm9kZTpwdw==');
  assert.equal(authorization({ kind: 'bearer', token: 'a.b' }), 'Bearer a.b');
  assert.equal(authorization({ kind: 'basic', user: '', password: 'pw' }), undefined);
});
