import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { planRollout, resolveBounds, type SetSize } from '../../standin/controllers/rollout.ts';
import { matchesLabelSelector, parseFieldSelector, parseLabelSelector } from '../../standin/selectors.ts';
import { duration } from '../../standin/tables/format.ts';

const size = (name: string, replicas: number, available: number): SetSize => ({
  name,
  replicas,
  pods: replicas,
  terminating: 0,
  available,
  created: name === 'new' ? 2 : 1,
});

describe('rolling updates', () => {
  test('percentages round up for the surge and down for what may be missing', () => {
    const rollingUpdate = { maxSurge: '25%', maxUnavailable: '25%' };
    assert.deepEqual(resolveBounds({ rollingUpdate }, 5), { surge: 2, unavailable: 1 });
    assert.deepEqual(resolveBounds({ rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } }, 5), {
      surge: 0,
      unavailable: 1,
    });
  });

  test('never more pods than the surge allows, never fewer available ones than the minimum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 5 }),
        (replicas, surge, unavailable) => {
          const strategy = { rollingUpdate: { maxSurge: surge, maxUnavailable: unavailable } };
          let [current, old] = [size('new', 0, 0), size('old', replicas, replicas)];
          for (let step = 0; step < 500; step++) {
            const plan = planRollout({ replicas, strategy, paused: false, current, old: [old] });
            const wanted = (name: string, was: number) => plan.find((entry) => entry.name === name)?.replicas ?? was;
            const next = { new: wanted('new', current.replicas), old: wanted('old', old.replicas) };
            assert.ok(next.new + next.old <= replicas + surge);
            // The new pods become available one by one.
            current = size('new', next.new, Math.min(next.new, current.available + 1));
            old = size('old', next.old, Math.min(next.old, old.available));
            assert.ok(current.available + old.available >= replicas - unavailable);
            if (current.available === replicas && old.replicas === 0) return;
          }
          assert.fail('the roll-out never ends');
        },
      ),
    );
  });
});

describe('selectors', () => {
  const object = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', labels: { a: '1', b: '2' } },
    spec: { nodeName: 'n1' },
    status: {},
  };

  test('label selectors of all forms', () => {
    for (const [text, expected] of [
      ['a=1', true],
      ['a==1,b!=3', true],
      ['a in (1, 5),!c', true],
      ['b notin (2)', false],
      ['c', false],
      ['a=2', false],
    ] as const)
      assert.equal(parseLabelSelector(text)(object), expected, text);
  });

  test('field selectors, and a field that is none', () => {
    assert.ok(parseFieldSelector('Pod', 'spec.nodeName=n1,metadata.name=p')(object));
    assert.ok(!parseFieldSelector('Pod', 'spec.nodeName!=n1')(object));
    assert.throws(() => parseFieldSelector('Pod', 'spec.color=red'), {
      code: 400,
      message: /field label not supported: spec.color/,
    });
  });

  test('an empty selector matches everything, none nothing', () => {
    assert.ok(matchesLabelSelector({}, undefined));
    assert.ok(!matchesLabelSelector(undefined, { a: '1' }));
  });
});

test('ages read as kubectl prints them', () => {
  const s = 1000;
  for (const [ms, text] of [
    [0, '0s'],
    [119 * s, '119s'],
    [120 * s, '2m'],
    [185 * s, '3m5s'],
    [3600 * s * 3, '3h'],
    [3600 * s * 7 + 60 * s, '7h1m'],
    [3600 * s * 49, '2d1h'],
    [86400 * s * 800, '2y70d'],
  ] as const)
    assert.equal(duration(ms), text);
});
