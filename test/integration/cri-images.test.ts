import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Cri } from '../../src/cri/index.ts';
import { hostExec } from '../../src/host/index.ts';
import { tar } from '../fakes/tar.ts';
import { BUSYBOX, busyboxArchive, createLab, type Lab, PAUSE, until, whyNot } from './cri-support.ts';

const binary = process.env.CONTAINERD_BIN;
const skip = await whyNot(binary);

/** An OCI layout in a tar, its blobs of no use but for their names. */
function ociArchive(name: string): Buffer {
  const entries: { name: string; data: Buffer }[] = [];
  const add = (data: Buffer) => {
    const digest = createHash('sha256').update(data).digest('hex');
    entries.push({ name: `blobs/sha256/${digest}`, data });
    return { digest: `sha256:${digest}`, size: data.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const layer = tar([{ name: 'hello', data: Buffer.from(name) }]);
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = add(json({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [diffId] } }));
  const media = 'application/vnd.oci.image';
  const manifest = add(
    json({
      schemaVersion: 2,
      mediaType: `${media}.manifest.v1+json`,
      config: { mediaType: `${media}.config.v1+json`, ...config },
      layers: [{ mediaType: `${media}.layer.v1.tar`, ...add(layer) }],
    }),
  );
  const annotations = { 'io.containerd.image.name': name };
  const index = { schemaVersion: 2, manifests: [{ mediaType: `${media}.manifest.v1+json`, ...manifest, annotations }] };
  return tar([
    { name: 'oci-layout', data: json({ imageLayoutVersion: '1.0.0' }) },
    ...entries,
    { name: 'index.json', data: json(index) },
  ]);
}

describe('the images folder', { skip, timeout: 120_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let folder: string;

  before(async () => {
    lab = await createLab(binary);
    folder = join(lab.dir, 'data/agent/images');
    await writeFile(join(folder, 'broken.tar.gz'), 'this is no archive');
    await writeFile(join(folder, 'notes.md'), 'left alone');
    await writeFile(join(folder, 'oci.tar.zst'), zstdCompressSync(ociArchive('registry.test/oci/one:1')));
    const other = await busyboxArchive(['registry.test/two:2'], ['sh']);
    await writeFile(join(folder, 'two.tgz'), gzipSync(other));
    cri = lab.make({ airgapExtraRegistries: ['mirror.test/deep'] });
    await cri.start(AbortSignal.timeout(60_000));
    await cri.importer.imagesReady;
  });
  after(() => lab.end());

  const present = async (name: string) => ((await cri.images.imageStatus(name)) ? true : undefined);

  it('is imported whatever the shape and compression; one bad file says so and harms nothing', async () => {
    for (const name of [BUSYBOX, PAUSE, 'registry.test/oci/one:1', 'registry.test/two:2'])
      assert.ok(await present(name), name);
    const failures = [...cri.importer.failures()];
    assert.equal(failures.length, 1);
    assert.equal(failures[0]?.[0], join(folder, 'broken.tar.gz'));
    assert.match(failures[0]?.[1] ?? '', /broken\.tar\.gz/);
  });

  it('gives the images a name by digest and one of each extra registry', async () => {
    const image = await cri.images.imageStatus('mirror.test/deep/library/kat-busybox:1');
    assert.deepEqual(image?.repoTags.sort(), [BUSYBOX, 'mirror.test/deep/library/kat-busybox:1']);
    assert.equal(image?.repoDigests.length, 2);
  });

  it('is followed, sub-folders too, each kind of compression that needs a program of the host', async (t) => {
    const sub = join(folder, 'later/deeper');
    await mkdir(sub, { recursive: true });
    for (const [program, ending] of [
      ['lz4', 'lz4'],
      ['bzip2', 'bz2'],
    ] as const) {
      if (!(await hostExec.run([program, '--version'], { input: '' }).catch(() => undefined))) {
        t.diagnostic(`no ${program} here`);
        continue;
      }
      const plain = join(lab.dir, 'plain.tar');
      await writeFile(plain, ociArchive(`registry.test/${program}:1`));
      await hostExec.run(program === 'lz4' ? ['lz4', '-q', plain, `${plain}.lz4`] : ['bzip2', '-k', plain]);
      await rename(`${plain}.${ending}`, join(sub, `x.tar.${ending}`));
      await until(() => present(`registry.test/${program}:1`), 15_000);
    }
  });

  it('is not imported again after a restart, but for what has gone meanwhile', async () => {
    await until(() => (cri.importer.busy() ? undefined : true), 10_000);
    await cri.images.removeImage('registry.test/two:2');
    await cri.stop();
    lab.lines.length = 0;
    cri = lab.make({ airgapExtraRegistries: ['mirror.test/deep'] });
    await cri.start(AbortSignal.timeout(30_000));
    await cri.importer.imagesReady;
    const imported = lab.lines.filter((line) => line.startsWith('Images were imported'));
    assert.equal(imported.length, 1, imported.join('\n'));
    assert.match(imported[0] ?? '', /two\.tgz/);
    assert.ok(await present('registry.test/two:2'));
  });

  it('has its images pinned for containerd, and unpinned once their file is gone', async () => {
    const ctr = cri.status().version?.startsWith('2') && binary ? binary.replace(/containerd$/, 'ctr') : 'ctr';
    const pins = async () => {
      const { stdout } = await hostExec.run([ctr, '-a', cri.socket, '-n', 'k8s.io', 'images', 'ls']);
      return stdout
        .split('\n')
        .filter((l) => l.includes('io.cattle.k3s.pinned=pinned') && l.includes('io.cri-containerd.pinned=pinned'));
    };
    assert.ok((await pins()).some((line) => line.startsWith('registry.test/oci/one:1 ')));
    await cri.stop();
    await rm(join(folder, 'oci.tar.zst'));
    cri = lab.make();
    await cri.start(AbortSignal.timeout(30_000));
    await cri.importer.imagesReady;
    const left = await pins();
    assert.ok(!left.some((line) => line.includes('registry.test/oci/one')));
    assert.ok(left.some((line) => line.startsWith(`${BUSYBOX} `)));
    assert.ok(await present('registry.test/oci/one:1'), 'unpinned, not removed');
  });

  it('takes lists of images: those present are pinned, others pulled, with a retry', async () => {
    await writeFile(join(folder, 'list.txt'), '# what we need\nregistry.test/oci/one:1\n\nregistry.invalid/none:1\n');
    await until(() => (lab.lines.some((line) => line.includes('list.txt')) ? true : undefined), 20_000);
    const line = lab.lines.find((text) => text.includes('list.txt')) ?? '';
    assert.match(line, /registry\.invalid\/none:1 can't be pulled/);
    await writeFile(join(folder, 'list.txt'), 'registry.test/oci/one:1\n');
    const records = join(lab.dir, 'data/agent/containerd/imported-images.json');
    await until(async () => ((await readFile(records, 'utf8')).includes('list.txt') ? true : undefined), 20_000);
  });
});
