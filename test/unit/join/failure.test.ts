import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureTopic } from '../../../src/join/failure.ts';

test('a wrong clock is one problem, however late it gets; another date of the certificate is the same still', () => {
  const said = (now: string) => ({
    step: 'tls-clock' as const,
    message: `the clock of this board says ${now}, but the certificate of https://s:6443 is valid from 2026-01-01T00:00:00Z`,
  });
  assert.equal(failureTopic(said('2020-01-01T00:00:01Z')), failureTopic(said('2020-01-01T00:00:05.250Z')));
});

test('another step or another text is another problem', () => {
  const refused = { step: 'tcp' as const, message: 'connect ECONNREFUSED 10.0.0.1:6443' };
  assert.notEqual(failureTopic(refused), failureTopic({ ...refused, message: 'connect EHOSTUNREACH 10.0.0.1:6443' }));
  assert.notEqual(failureTopic(refused), failureTopic({ ...refused, step: 'dns' }));
});
