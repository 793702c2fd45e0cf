import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { applyJsonPatch } from '../../standin/patches/json-patch.ts';
import { applyMergePatch } from '../../standin/patches/merge-patch.ts';
import { applyStrategicPatch } from '../../standin/patches/strategic-patch.ts';

describe('strategic merge patch', () => {
  test('merges containers by name and keeps the others', () => {
    const pod = {
      spec: {
        containers: [
          { name: 'a', image: '1', env: [{ name: 'X', value: '1' }] },
          { name: 'b', image: '2' },
        ],
      },
    };
    const patch = { spec: { containers: [{ name: 'a', image: '9', env: [{ name: 'Y', value: '2' }] }] } };
    assert.deepEqual(applyStrategicPatch('Pod', pod, patch), {
      spec: {
        containers: [
          {
            name: 'a',
            image: '9',
            env: [
              { name: 'X', value: '1' },
              { name: 'Y', value: '2' },
            ],
          },
          { name: 'b', image: '2' },
        ],
      },
    });
  });

  test('merges conditions by type, as status patches of kubelets need it', () => {
    const node = {
      status: {
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'DiskPressure', status: 'False' },
        ],
      },
    };
    const patch = {
      status: {
        $setElementOrder$: 0,
        '$setElementOrder/conditions': [{ type: 'DiskPressure' }, { type: 'Ready' }],
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    };
    assert.deepEqual(applyStrategicPatch('Node', node, patch), {
      status: {
        conditions: [
          { type: 'DiskPressure', status: 'False' },
          { type: 'Ready', status: 'True' },
        ],
      },
    });
  });

  test('replaces a list where told so, and lists without a key', () => {
    const node = { status: { addresses: [{ type: 'InternalIP', address: '1' }] }, spec: { taints: [{ key: 'a' }] } };
    const patch = {
      status: {
        addresses: [
          { type: 'InternalIP', address: '2' },
          { type: 'InternalIP', address: 'fd::2' },
          { $patch: 'replace' },
        ],
      },
      spec: { taints: [{ key: 'b' }] },
    };
    assert.deepEqual(applyStrategicPatch('Node', node, patch), {
      status: {
        addresses: [
          { type: 'InternalIP', address: '2' },
          { type: 'InternalIP', address: 'fd::2' },
        ],
      },
      spec: { taints: [{ key: 'b' }] },
    });
  });

  test('deletes elements, fields and members of primitive lists', () => {
    const pod = {
      metadata: { finalizers: ['a', 'b'], labels: { x: '1', y: '2' } },
      spec: { volumes: [{ name: 'v' }, { name: 'w' }] },
    };
    const patch = {
      metadata: { '$deleteFromPrimitiveList/finalizers': ['a'], labels: { x: null } },
      spec: { volumes: [{ name: 'v', $patch: 'delete' }] },
    };
    assert.deepEqual(applyStrategicPatch('Pod', pod, patch), {
      metadata: { finalizers: ['b'], labels: { y: '2' } },
      spec: { volumes: [{ name: 'w' }] },
    });
  });

  test('tells ports of containers from ports of services', () => {
    const patched = applyStrategicPatch(
      'Service',
      { spec: { ports: [{ port: 80, name: 'a' }] } },
      { spec: { ports: [{ port: 80, targetPort: 8080 }, { port: 81 }] } },
    );
    assert.deepEqual(patched, { spec: { ports: [{ port: 80, name: 'a', targetPort: 8080 }, { port: 81 }] } });
  });
});

describe('JSON and merge patches', () => {
  test('JSON patch adds, removes, replaces, moves, copies and tests', () => {
    const patched = applyJsonPatch({ a: [1, 2], b: { 'c/d': 1 } }, [
      { op: 'test', path: '/a/0', value: 1 },
      { op: 'add', path: '/a/-', value: 3 },
      { op: 'remove', path: '/a/0' },
      { op: 'replace', path: '/b/c~1d', value: 2 },
      { op: 'copy', from: '/a/0', path: '/e' },
      { op: 'move', from: '/b', path: '/f' },
    ]);
    assert.deepEqual(patched, { a: [2, 3], e: 2, f: { 'c/d': 2 } });
  });

  test('a failing operation is refused with 422', () => {
    for (const operation of [
      { op: 'test', path: '/a', value: 2 },
      { op: 'remove', path: '/x' },
      { op: 'replace', path: '/x/y', value: 1 },
    ])
      assert.throws(() => applyJsonPatch({ a: 1 }, [operation]), { code: 422 });
  });

  test('a merge patch deletes by null and replaces lists', () => {
    assert.deepEqual(applyMergePatch({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: null }, d: [2] }), {
      a: { c: 2 },
      d: [2],
    });
  });

  test('patches never change what they are applied to', () => {
    fc.assert(
      fc.property(fc.object(), fc.object(), (target, patch) => {
        const before = JSON.stringify(target);
        applyMergePatch(target, patch);
        try {
          applyStrategicPatch('Pod', target, patch);
        } catch {
          // refused
        }
        assert.equal(JSON.stringify(target), before);
      }),
    );
  });
});
