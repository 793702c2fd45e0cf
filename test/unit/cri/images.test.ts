import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { kindOf } from '../../../src/cri/images/archive-file.ts';
import { ArchiveNames, readArchiveNames } from '../../../src/cri/images/archive-names.ts';
import { importArchive } from '../../../src/cri/images/ctr-import.ts';
import { readRecords, unchanged, writeRecords } from '../../../src/cri/images/records.ts';
import { extraNames, normalizeImage, parseReference } from '../../../src/cri/images/reference.ts';
import { tar } from '../../fakes/tar.ts';

async function namesIn(archive: Uint8Array, chunk = 1_000): Promise<string[]> {
  const names = new ArchiveNames();
  const chunks: Buffer[] = [];
  for (let at = 0; at < archive.length; at += chunk) chunks.push(Buffer.from(archive.subarray(at, at + chunk)));
  let passed = 0;
  names.on('data', (data: Buffer) => {
    passed += data.length;
  });
  await pipeline(Readable.from(chunks), names);
  assert.equal(passed, archive.length);
  return names.names();
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

describe('the names in an image archive', () => {
  const archive = tar([
    { name: 'blobs/sha256/aa', data: Buffer.alloc(5_000, 1) },
    { name: './manifest.json', data: json([{ RepoTags: ['busybox:1', 'r.test/x/y:2'] }, { RepoTags: null }]) },
    {
      name: 'index.json',
      data: json({
        manifests: [
          { annotations: { 'io.containerd.image.name': 'docker.io/library/z:3' } },
          { annotations: { 'org.opencontainers.image.ref.name': 'r.test/q:4' } },
          { annotations: { 'org.opencontainers.image.ref.name': 'latest' } },
          {},
        ],
      }),
    },
  ]);

  it('are those of docker-archive and OCI lists, however the bytes come', async () => {
    const names = ['docker.io/library/busybox:1', 'r.test/x/y:2', 'docker.io/library/z:3', 'r.test/q:4'];
    for (const chunk of [1, 7, 511, 512, 513, 100_000]) assert.deepEqual(await namesIn(archive, chunk), names);
  });

  it('are read from a file without the rest of it', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-names-'));
    try {
      const path = join(dir, 'a.tar');
      for (const [bytes, names] of [
        [archive, ['docker.io/library/busybox:1', 'r.test/x/y:2', 'docker.io/library/z:3', 'r.test/q:4']],
        [archive.subarray(0, 6_000), []],
        [Buffer.from('no tar'), []],
        [Buffer.alloc(5_000, 'x'), []],
      ] as const) {
        await writeFile(path, bytes);
        assert.deepEqual(await readArchiveNames(path), names);
      }
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('are none in anything else, which passes all the same', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3_000 }), async (bytes) => {
        assert.deepEqual(await namesIn(bytes, 100), []);
      }),
      { numRuns: 300 },
    );
    assert.deepEqual(await namesIn(tar([{ name: 'manifest.json', data: Buffer.from('{') }])), []);
    assert.deepEqual(await namesIn(tar([{ name: 'manifest.json', data: json({ a: 1 }) }])), []);
    assert.deepEqual(await namesIn(tar([{ name: 'index.json', data: json({ manifests: [null, 3] }) }])), []);
  });
});

describe('image references', () => {
  it('are written in full', () => {
    const cases = {
      busybox: 'docker.io/library/busybox:latest',
      'busybox:1.36': 'docker.io/library/busybox:1.36',
      'rancher/mirrored-pause:3.6': 'docker.io/rancher/mirrored-pause:3.6',
      'docker.io/x': 'docker.io/library/x:latest',
      'index.docker.io/library/x:1': 'docker.io/library/x:1',
      'localhost:5000/a/b': 'localhost:5000/a/b:latest',
      [`r.test/a@sha256:${'0'.repeat(64)}`]: `r.test/a@sha256:${'0'.repeat(64)}`,
      [`r.test/a:1@sha256:${'0'.repeat(64)}`]: `r.test/a:1@sha256:${'0'.repeat(64)}`,
      '[fd00::1]:5000/x': '[fd00::1]:5000/x:latest',
      'UPPER CASE': 'UPPER CASE',
    };
    for (const [from, to] of Object.entries(cases)) assert.equal(normalizeImage(from), to);
    assert.equal(parseReference('a/../b'), undefined);
    assert.equal(parseReference(''), undefined);
  });

  it('of imported images get a name by digest and one for each extra registry that is not theirs', () => {
    assert.deepEqual(extraNames('docker.io/library/x:1', 'sha256:aa', ['r.test/', 'r.test', 'docker.io', 'm.test/p']), [
      'docker.io/library/x@sha256:aa',
      'r.test/library/x:1',
      'r.test/library/x@sha256:aa',
      'm.test/p/library/x:1',
      'm.test/p/library/x@sha256:aa',
    ]);
  });
});

describe('the files of the images folder', () => {
  it('are known by their ending', () => {
    const kinds = [
      'a.tar',
      'a.tar.gz',
      'a.tgz',
      'a.tar.zst',
      'a.tzst',
      'a.tar.lz4',
      'a.tar.bz2',
      'a.tbz',
      'a.txt',
      'a.zip',
      '.cache.json',
    ];
    assert.deepEqual(kinds.map(kindOf), [
      'tar',
      'gzip',
      'gzip',
      'zstd',
      'zstd',
      'lz4',
      'bzip2',
      'bzip2',
      'list',
      undefined,
      undefined,
    ]);
  });

  it("are remembered, in k3s's .cache.json too if the user made one, and taken over from it", async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-rec-'));
    try {
      const files = { state: join(dir, 'state.json'), cache: join(dir, '.cache.json') };
      const record = { size: 5, mtimeMs: 1_700_000_000_123, images: { 'docker.io/library/x:1': 'sha256:aa' } };
      await writeRecords(files, new Map([['/i/x.tar', record]]));
      await assert.rejects(readFile(files.cache), { code: 'ENOENT' });
      assert.deepEqual(await readRecords(files), new Map([['/i/x.tar', record]]));
      await writeFile(files.cache, '');
      await writeRecords(files, new Map([['/i/x.tar', record]]));
      assert.deepEqual(JSON.parse(await readFile(files.cache, 'utf8')), {
        '/i/x.tar': { size: 5, modTime: '2023-11-14T22:13:20Z', images: ['docker.io/library/x:1'] },
      });
      await rm(files.state);
      const taken = (await readRecords(files)).get('/i/x.tar');
      assert.ok(taken && unchanged(taken, { size: 5, mtimeMs: record.mtimeMs }));
      assert.deepEqual(taken.images, { 'docker.io/library/x:1': '' });
      assert.ok(!unchanged(taken, { size: 6, mtimeMs: record.mtimeMs }));
      await writeFile(files.cache, '{"a": 3, "b": {"size": "x"}, "c": ');
      assert.equal((await readRecords(files)).size, 0);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});

describe('an import that fails', () => {
  const importWith = async (lastWords: string) => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-ctr-'));
    try {
      const ctr = join(dir, 'ctr');
      await writeFile(ctr, `#!/bin/sh\necho '${lastWords}' >&2\nexit 1\n`, { mode: 0o755 });
      const path = join(dir, 'a.tar');
      await writeFile(path, tar([]));
      const { signal } = new AbortController();
      const common = { socket: '/run/x.sock', namespace: 'k8s.io', containerdMajor: 2, signal };
      return await importArchive({ path, kind: 'tar', ctr, ...common }).then(
        () => 'imported',
        (error: { code: string }) => error.code,
      );
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  };

  it('because containerd ended under it is told from a broken archive', async () => {
    const away = 'ctr: rpc error: code = Unavailable desc = error reading from server: EOF';
    assert.equal(await importWith(away), 'CRI_UNAVAILABLE');
    assert.equal(await importWith('ctr: dial unix:///run/x.sock: connect: connection refused'), 'CRI_UNAVAILABLE');
    assert.equal(await importWith('ctr: unrecognized image format'), 'IMAGE_IMPORT_FAILED');
  });
});
