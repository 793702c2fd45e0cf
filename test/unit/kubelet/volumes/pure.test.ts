import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { createMounter, isWithin, volumeFailure } from '../../../../src/kubelet/volumes/index.ts';
import { parseMountPoints } from '../../../../src/kubelet/volumes/mounter.ts';
import { objectPayload, safePath } from '../../../../src/kubelet/volumes/payload.ts';
import { nestedMountPoints } from '../../../../src/kubelet/volumes/used.ts';
import {
  commonUser,
  otherReferences,
  volumeReferences,
  volumeSignature,
} from '../../../../src/kubelet/volumes/wishes.ts';

const signal = new AbortController().signal;
const mounts = (...names: string[]) => names.map((name) => ({ name, mountPath: `/${name}` }));
const pod = (spec: object, metadata: object = {}): Pod =>
  ({
    metadata: { name: 'p', namespace: 'ns', uid: 'u', ...metadata },
    spec: { containers: [{ name: 'a', volumeMounts: mounts('1', '2') }], ...spec },
  }) as unknown as Pod;

describe('payloads', () => {
  it('hold text, binary data and keys with odd names', () => {
    const object = JSON.parse('{"data":{"a":"é","__proto__":"p"},"binaryData":{"b":"AAE="}}');
    const files = objectPayload('ConfigMap', object, { optional: false });
    assert.deepEqual([...files.keys()].sort(), ['__proto__', 'a', 'b']);
    assert.deepEqual(files.get('b'), { data: Buffer.from([0, 1]), mode: 0o644 });
  });

  it('have only paths inside of the volume', () => {
    assert.equal(safePath('./a//b'), 'a/b');
    for (const bad of [
      '',
      '.',
      '/a',
      '..',
      '../a',
      'a/..',
      'a/../b',
      '..data',
      '..2020',
      'a\0',
      'x'.repeat(256),
      'a/'.repeat(3000),
    ])
      assert.throws(() => safePath(bad), /invalid path/, bad.slice(0, 20));
  });
});

describe('what a pod names', () => {
  const whole = pod({
    imagePullSecrets: [{ name: 'pull' }],
    volumes: [
      { name: '1', configMap: { name: 'a' } },
      { name: '2', projected: { sources: [{ secret: { name: 's' } }, { configMap: { name: 'a' } }] } },
    ],
    initContainers: [{ name: 'i', env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'e', key: 'k' } } }] }],
    containers: [{ name: 'a', envFrom: [{ configMapRef: { name: 'f' } }], volumeMounts: mounts('1', '2') }],
  });
  it('is told apart: volumes are followed, the rest kept', () => {
    const names = (refs: { kind: string; name: string }[]) => refs.map((r) => `${r.kind}/${r.name}`).sort();
    assert.deepEqual(names(volumeReferences(whole)), ['ConfigMap/a', 'Secret/s']);
    assert.deepEqual(names(otherReferences(whole)), ['ConfigMap/f', 'Secret/e', 'Secret/pull']);
  });

  it('is followed only where a container mounts it', () => {
    const names = (spec: object) =>
      volumeReferences(pod({ volumes: [{ name: 'v', configMap: { name: 'a' } }], ...spec })).map((r) => r.name);
    assert.deepEqual(names({}), []);
    assert.deepEqual(names({ initContainers: [{ name: 'i', volumeMounts: mounts('v') }] }), ['a']);
    assert.deepEqual(names({ ephemeralContainers: [{ name: 'e', volumeMounts: mounts('v') }] }), ['a']);
  });

  it('of itself matters only where a volume shows it', () => {
    const plain = (labels: object) =>
      volumeSignature(pod({ volumes: [{ name: '1', configMap: { name: 'a' } }] }, { labels }));
    assert.equal(plain({ a: '1' }), plain({ a: '2' }));
    const items = [{ path: 'l', fieldRef: { fieldPath: 'metadata.labels' } }];
    const shown = (labels: object) =>
      volumeSignature(pod({ volumes: [{ name: '1', downwardAPI: { items } }] }, { labels }));
    assert.notEqual(shown({ a: '1' }), shown({ a: '2' }));
  });

  it('has one user if all containers have', () => {
    const of = (own: (number | undefined)[], runAsUser?: number) =>
      commonUser(
        pod({
          securityContext: { runAsUser },
          containers: own.map((u, i) => ({ name: `${i}`, securityContext: { runAsUser: u } })),
        }),
      );
    assert.deepEqual([of([1, 1]), of([1, 2]), of([undefined, 5], 5), of([undefined])], [1, undefined, 5, undefined]);
  });
});

describe('folders for volumes inside of volumes', () => {
  const nested = (paths: Record<string, string>) =>
    nestedMountPoints(
      'v',
      pod({
        containers: [
          { name: 'a', volumeMounts: Object.entries(paths).map(([name, mountPath]) => ({ name, mountPath })) },
        ],
      }),
    ).sort();
  it('are the outermost ones only, whatever the order of the mounts', () => {
    assert.deepEqual(
      nested({ x: '/dir/nested/double', v: '/dir/', y: '/dir/nested', z: '/dir/nested-vol', w: '/dir2' }),
      ['nested', 'nested-vol'],
    );
    assert.deepEqual(nested({ v: '/a', x: '/b' }), []);
    assert.deepEqual(nested({ v: '/a', x: '/a/b//./c' }), ['b/c']);
  });
  it('never lead out of the volume', () => {
    assert.deepEqual(nested({ v: '/a', x: '/a/../../etc', y: '/a/b/../c' }), []);
  });
});

describe('mounts', () => {
  it('are found below a path only, octal escapes undone', () => {
    const line = (at: string) => `1 2 0:3 / ${at} rw shared:1 - tmpfs tmpfs rw`;
    assert.deepEqual(parseMountPoints([line('/a'), line('/with\\040space'), ''].join('\n')), ['/a', '/with space']);
    assert.deepEqual([isWithin('/a', '/a/b'), isWithin('/a', '/ab'), isWithin('/', '/x')], [true, false, true]);
  });

  it('are made in one process, by descriptor where one is given', async () => {
    const runs: { argv: readonly string[]; fds: readonly number[] | undefined }[] = [];
    const mounter = createMounter(
      {
        async run(argv, options) {
          runs.push({ argv, fds: options?.extraFds });
          return { code: 0, stdout: '', stderr: '' };
        },
      },
      { scratchDir: '/tmp' },
    );
    await mounter.mount([], signal);
    await mounter.mount([{ source: '', target: '/t', type: 'none', options: ['bind'], fd: 17 }], signal);
    await mounter.unmount(
      Array.from({ length: 300 }, (_, i) => `/m${i}`),
      signal,
    );
    assert.deepEqual(runs[0], {
      argv: ['mount', '-c', '-t', 'none', '-o', 'bind', '/proc/self/fd/3', '/t'],
      fds: [17],
    });
    assert.deepEqual(
      runs.slice(1).map((r) => r.argv.length),
      [202, 102],
    );
  });
});

it('failures read as upstream writes them', () => {
  const absent = new AgentError({ code: 'REFERENCE_ABSENT', message: 'secret "x" not found' });
  assert.deepEqual(volumeFailure('v', absent), {
    volume: 'v',
    code: 'VOLUME_REFERENCE',
    message: 'MountVolume.SetUp failed for volume "v" : secret "x" not found',
  });
});
