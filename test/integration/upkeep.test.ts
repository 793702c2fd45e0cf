import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { type Clock, silentLogger, systemClock } from '../../src/core/index.ts';
import type { Cri } from '../../src/cri/index.ts';
import { readFilesystem } from '../../src/hardware/index.ts';
import { ImageCollector, ImagePuller } from '../../src/kubelet/images/index.ts';
import { LogRotator } from '../../src/kubelet/logs/index.ts';
import { readLog } from '../../src/kubelet/server/logs/reader.ts';
import { makePod } from '../fakes/pods.ts';
import { BUSYBOX, createLab, type Lab, PAUSE, sandboxConfig, until, whyNot } from './cri-support.ts';
import { startRegistry, type TestRegistry } from './registry-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);
const MB = 1024 * 1024;
/** A minute in three seconds. */
const fast: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic() * 20,
  sleep: (ms, signal) => systemClock.sleep(ms / 20, signal),
  after: (ms, fn) => systemClock.after(ms / 20, fn),
};

describe('upkeep of a board, with containerd', { skip, timeout: 120_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let registry: TestRegistry;

  before(async () => {
    registry = await startRegistry({ data: randomBytes(24 * MB) });
    lab = await createLab(process.env.CONTAINERD_BIN);
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
    await cri.importer.imagesReady;
  });
  after(async () => {
    registry?.close();
    await lab?.end();
  });

  const pull = (image: string, clock: Clock = systemClock) => {
    const events: string[] = [];
    const puller = new ImagePuller({
      images: cri.images,
      clock,
      log: silentLogger,
      secret: () => Promise.reject(new Error('none')),
      downloads: (signal) => cri.downloads(signal),
    });
    const done = puller.ensure({
      pod: makePod('p'),
      container: { name: 'main', image },
      event: (_, reason, message) => void events.push(`${reason}: ${message}`),
      podEvent: () => {},
      signal: AbortSignal.timeout(60_000),
    });
    return { done, events };
  };

  it('a pull whose registry falls silent is cut off, and the next one gets the image', async (t) => {
    registry.stallAfter = 9 * MB;
    const image = `127.0.0.1:${registry.port}/stalled/app:1`;
    const first = await pull(image, fast).done.catch((error: Error & { code: string }) => error);
    if (first instanceof Error) {
      assert.match(`${first.message}`, /no progress for \d+s at [\d.]+ of 25\.2 MB, cut off to be tried again/);
      await pull(image).done;
    }
    const layers = registry.seen.filter((line) => line.includes('/blobs/') && line.startsWith('GET'));
    // containerd gives up what a cut-off pull had got with its lease: whoever is quicker than its collector goes on there.
    t.diagnostic(layers.some((line) => / from [1-9]\d*/.test(line)) ? 'went on where it ended' : 'began anew');
    assert.deepEqual((await cri.images.imageStatus(image))?.repoTags, [image]);
  });

  it('a tag that is not there fails in the words of the original', async () => {
    const { done, events } = pull(`127.0.0.1:${registry.port}/some/app:2`);
    await assert.rejects(done, { code: 'ErrImagePull' });
    assert.match(
      events.at(-1) as string,
      /^Failed: Failed to pull image "127.*": rpc error: code = NotFound desc = failed to pull and unpack image/,
    );
  });

  it('unused images go, and free what they held; used, pinned and wanted ones stay', async () => {
    const [old, newer, wanted] = ['old', 'newer', 'wanted'].map((name) => `127.0.0.1:${registry.port}/${name}/app:1`);
    for (const image of [wanted, old, newer]) await pull(image as string).done;
    const collector = new ImageCollector({
      policy: { minAgeMs: 0 },
      images: cri.images,
      runtime: cri.runtime,
      events: cri.events,
      filesystem: () => readFilesystem(lab.dir),
      wanted: () => [wanted as string],
      pinned: (signal) => cri.pinnedImages(signal),
      event: () => {},
      clock: systemClock,
      log: silentLogger,
    });
    assert.equal(await collector.freeImages(), 0, 'one image of many names is in use by one of them');
    const all = await startRegistry({ data: randomBytes(20 * MB) });
    try {
      const unused = `127.0.0.1:${all.port}/unused/app:1`;
      await pull(unused).done;
      const freed = await collector.freeImages(10 * MB);
      assert.ok(freed > 30 * MB && freed < 80 * MB, `layer and its unpacked files: ${freed}`);
      assert.equal(await cri.images.imageStatus(unused), undefined);
    } finally {
      all.close();
    }
    for (const image of [BUSYBOX, PAUSE, wanted as string]) assert.ok(await cri.images.imageStatus(image), image);
    await collector.stop();
  });

  it('a log is rotated under its writer, and whoever follows it misses nothing', async () => {
    const config = sandboxConfig(lab, 'talker');
    const folder = config.logDirectory as string;
    await mkdir(folder, { recursive: true });
    const sandbox = await cri.runtime.runPodSandbox(config, '');
    const script =
      'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo "line $i"; [ $((i % 50)) = 0 ] && sleep 0.1; done; sleep 1000';
    const id = await cri.runtime.createContainer(
      sandbox,
      {
        metadata: { name: 'talker', attempt: 0 },
        image: { image: BUSYBOX },
        command: ['sh', '-c', script],
        logPath: '0.log',
      },
      config,
    );
    await cri.runtime.startContainer(id);
    const path = join(folder, '0.log');
    const rotator = new LogRotator({
      policy: { maxSize: 20_000, maxFiles: 50, monitorIntervalMs: 1_100 },
      runtime: cri.runtime,
      running: () => [{ containerId: id, path }],
      clock: systemClock,
      log: silentLogger,
    });
    const stop = new AbortController();
    let followed = '';
    const reading = readLog({
      path,
      options: { follow: true, previous: false, timestamps: false, stream: 'All' },
      write: async (text) => {
        followed += text.toString();
      },
      onEnd: () => () => {},
      signal: stop.signal,
      clock: systemClock,
    }).catch(() => {});
    await rotator.start(stop.signal);
    await until(() => followed.includes('line 3000\n') || undefined, 30_000);
    await rotator.stop();
    stop.abort();
    await reading;
    const lines = Array.from({ length: 3000 }, (_, i) => `line ${i + 1}\n`).join('');
    assert.equal(followed, lines);

    const names = (await readdir(folder)).sort();
    assert.ok(names.length > 3, names.join());
    const pieces = [...names.slice(1), '0.log'].map(async (name) => {
      const bytes = await readFile(join(folder, name));
      return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    });
    const kept = (await Promise.all(pieces)).join('').replace(/^\S+ stdout F /gm, '');
    assert.equal(kept, lines, 'every line is in one of the files');
  });
});
