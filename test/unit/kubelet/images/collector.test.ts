import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AgentError, silentLogger } from '../../../../src/core/index.ts';
import type { CriContainer, CriImage, RuntimeEvent } from '../../../../src/cri/types.ts';
import { ImageCollector, type ImagePolicy } from '../../../../src/kubelet/images/gc/collector.ts';
import { imagesInUse } from '../../../../src/kubelet/images/gc/records.ts';
import { whatFills } from '../../../../src/kubelet/images/gc/what-fills.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';

const GB = 1e9;

function image(name: string, size = GB, extra: Partial<CriImage> = {}): CriImage {
  return {
    id: `sha256:${name}`,
    repoTags: [`r.test/${name}:1`],
    repoDigests: [],
    size,
    username: '',
    pinned: false,
    ...extra,
  };
}

/** A disk of 100 GB; each image takes its size from it. */
function setUp({
  policy = {},
  other = 0,
  patienceMs = 0,
}: {
  policy?: ImagePolicy;
  other?: number;
  patienceMs?: number;
} = {}) {
  const clock = new FakeClock();
  const state = {
    images: [] as CriImage[],
    used: [] as string[],
    wanted: [] as string[],
    pinned: [] as string[],
    other,
    removed: [] as string[],
    calls: 0,
    away: false,
  };
  let emit: (event: RuntimeEvent) => void = () => {};
  const events: string[] = [];
  const collector = new ImageCollector({
    policy,
    patienceMs,
    images: {
      async listImages() {
        state.calls++;
        if (state.away) throw new AgentError({ code: 'CRI_UNAVAILABLE', message: 'no containerd' });
        return state.images;
      },
      async removeImage(id) {
        if (id === 'sha256:stuck') throw new AgentError({ code: 'CRI_UNKNOWN', message: 'lease held' });
        state.removed.push(id.slice(7));
        state.images = state.images.filter((one) => one.id !== id);
      },
    },
    runtime: {
      listContainers: async () =>
        state.used.map((imageRef) => ({ imageRef, image: { image: imageRef } }) as CriContainer),
    },
    events: {
      subscribe(handler) {
        emit = handler;
        return () => {
          emit = () => {};
        };
      },
    },
    filesystem: async () => {
      const used = state.other + state.images.reduce((sum, { size }) => sum + size, 0);
      return { total: 100 * GB, available: 100 * GB - used, inodes: 0, inodesFree: 0 };
    },
    wanted: () => state.wanted,
    pinned: async () => state.pinned,
    event: ({ reason, message }) => void events.push(`${reason}: ${message}`),
    whatFills: async () => 'Of 100 GB all are used.',
    clock,
    log: silentLogger,
  });
  const resync = async () => {
    emit({ type: 'resync' });
    await clock.advance(4_000);
  };
  return { clock, state, events, collector, emit: (event: RuntimeEvent) => emit(event), resync };
}

describe('unused images', () => {
  it('stay while there is space', async () => {
    const lab = setUp({ other: 70 * GB });
    lab.state.images = [image('a')];
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    assert.deepEqual(lab.state.removed, []);
    assert.deepEqual(lab.events, []);
  });

  it('go when the disk fills, the one not used for longest first, no more than needed', async () => {
    const lab = setUp({ other: 60 * GB });
    lab.state.images = ['a', 'b', 'c', 'd', 'e'].map((name) => image(name, 4 * GB));
    lab.state.used = ['sha256:c'];
    await lab.collector.start(new AbortController().signal);
    await lab.resync(); // 80 %: noted only
    lab.state.used = ['sha256:b'];
    await lab.clock.advance(300_000);
    await lab.resync();
    lab.state.used = ['sha256:d'];
    lab.state.other += 5 * GB; // 85 %: 5 GB have to go
    await lab.clock.advance(300_000);
    await lab.resync();
    assert.deepEqual(lab.state.removed.sort(), ['a', 'e']);
  });

  it('are never pinned, in use, awaited by a pod, or just pulled', async () => {
    const lab = setUp({ other: 80 * GB });
    const digest = `sha256:${'0'.repeat(64)}`;
    lab.state.images = [
      image('pinned', GB, { pinned: true }),
      image('labelled'),
      image('running'),
      image('by-digest', GB, { repoTags: [], repoDigests: [`r.test/x@${digest}`] }),
      image('awaited'),
      image('pause'),
      image('free'),
    ];
    lab.state.used = ['sha256:running', `r.test/x@${digest}`];
    lab.state.wanted = ['r.test/awaited:1', 'r.test/pause:1'];
    lab.state.pinned = ['r.test/labelled:1'];
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    lab.state.images.push(image('new'));
    await lab.clock.advance(300_000);
    await lab.resync();
    assert.deepEqual(lab.state.removed, ['free']);
    await lab.clock.advance(300_000);
    await lab.resync();
    assert.deepEqual(lab.state.removed, ['free', 'new']);
  });

  it('are looked for soon after images came, without a look at images if there is space', async () => {
    const lab = setUp({ other: 50 * GB });
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    const { calls } = lab.state;
    for (let i = 0; i < 5; i++) lab.emit({ type: 'images' });
    await lab.clock.advance(20_000);
    assert.equal(lab.state.calls, calls);
    lab.state.images.push(image('a', 40 * GB));
    lab.emit({ type: 'images' });
    await lab.clock.advance(20_000);
    lab.emit({ type: 'images' });
    await lab.clock.advance(130_000);
    lab.emit({ type: 'images' });
    await lab.clock.advance(20_000);
    assert.deepEqual(lab.state.removed, ['a']);
    await lab.collector.stop();
    assert.equal(lab.clock.timers, 0);
  });

  it('that do not suffice make events which say what fills the disk', async () => {
    const lab = setUp({ other: 95 * GB });
    lab.state.images = [image('a')];
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    const text =
      'Failed to garbage collect required amount of images. Attempted to free 16000000000 bytes, but only found 1000000000 bytes eligible to free. Of 100 GB all are used.';
    assert.deepEqual(lab.events, [`FreeDiskSpaceFailed: ${text}`]);
    for (let i = 0; i < 5; i++) {
      await lab.clock.advance(300_000);
      await lab.resync();
    }
    const reasons = lab.events.slice(1).map((event) => event.split(':')[0]);
    assert.deepEqual(reasons, ['FreeDiskSpaceFailed', 'ImageGCFailed'], 'told again now and then only');
  });

  it('are not looked at while the board starts', async () => {
    const lab = setUp({ other: 90 * GB, patienceMs: 60_000 });
    lab.state.images = [image('a')];
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    assert.equal(lab.state.calls, 0);
    await lab.clock.advance(60_000);
    assert.deepEqual(lab.state.removed, ['a']);
  });

  it('one that can not be removed does not keep the others', async () => {
    const lab = setUp({ other: 84 * GB });
    lab.state.images = [image('stuck'), image('a')];
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    assert.deepEqual(lab.state.removed, ['a']);
  });

  it('a runtime that is away once is nothing to tell of', async () => {
    const lab = setUp({ other: 90 * GB });
    lab.state.away = true;
    await lab.collector.start(new AbortController().signal);
    await lab.resync();
    assert.deepEqual(lab.events, []);
    await lab.clock.advance(300_000);
    await lab.resync();
    assert.deepEqual(lab.events, ['ImageGCFailed: no containerd']);
  });

  it('go after their greatest age, if one is set and the agent has run that long', async () => {
    const lab = setUp({ policy: { maxAgeMs: 3_600_000 } });
    lab.state.images = [image('a'), image('b')];
    lab.state.used = ['sha256:a'];
    await lab.collector.start(new AbortController().signal);
    for (let i = 0; i < 11; i++) {
      await lab.resync();
      assert.deepEqual(lab.state.removed, []);
      await lab.clock.advance(300_000);
    }
    await lab.clock.advance(600_000);
    await lab.resync();
    assert.deepEqual(lab.state.removed, ['b']);
  });

  it('can be removed for an eviction, as many as asked or all', async () => {
    const lab = setUp({ other: 10 * GB });
    lab.state.images = ['a', 'b', 'c', 'd'].map((name) => image(name));
    lab.state.used = ['sha256:d'];
    const some = lab.collector.freeImages(1.5 * GB);
    await settle();
    assert.equal(await some, 2 * GB);
    const all = lab.collector.freeImages();
    await settle();
    assert.equal(await all, GB);
    assert.deepEqual(
      lab.state.images.map(({ id }) => id),
      ['sha256:d'],
    );
  });
});

describe('images in use', () => {
  it('are found whatever names them', () => {
    const images = [image('a', 1, { repoTags: ['docker.io/library/busybox:latest'] }), image('b')];
    assert.deepEqual([...imagesInUse(images, [], ['busybox'])], ['sha256:a']);
    fc.assert(
      fc.property(fc.array(fc.string()), (names) => {
        assert.ok(imagesInUse(images, [], [...names, 'r.test/b:1']).has('sha256:b'));
      }),
    );
  });
});

describe('what fills the disk', () => {
  it('is said biggest first', async () => {
    const text = await whatFills({
      images: [image('big', 2 * 2 ** 30), image('small', 2 ** 20)],
      used: new Set(['sha256:big']),
      disk: { total: 8 * 2 ** 30, available: 2 ** 30, inodes: 0, inodesFree: 0 },
      service: {
        imageFsInfo: async () => ({
          imageFilesystems: [{ timestamp: 0, mountpoint: '/x', usedBytes: 3 * 2 ** 30, inodesUsed: 0 }],
          containerFilesystems: [],
        }),
      },
      folders: { 'container logs': '/nonexistent' },
      root: '/',
    });
    assert.equal(
      text,
      'Of 8.0 GiB, 7.0 GiB are used: unpacked images and what containers wrote 3.0 GiB, downloaded image layers 2.0 GiB, other files 2.0 GiB. Biggest images in use: r.test/big:1 2.0 GiB.',
    );
  });

  it('counts folders behind links, and only those on the disk of the images', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-fills-'));
    try {
      await mkdir(join(dir, 'disk/logs'), { recursive: true });
      await writeFile(join(dir, 'disk/logs/0.log'), Buffer.alloc(3 * 2 ** 20, 1));
      await symlink(join(dir, 'disk'), join(dir, 'link'));
      await symlink(join(dir, 'disk/logs'), join(dir, 'logs'));
      const told = (root: string) =>
        whatFills({
          images: [],
          used: new Set(),
          disk: { total: 8 * 2 ** 20, available: 5 * 2 ** 20, inodes: 0, inodesFree: 0 },
          service: { imageFsInfo: async () => ({ imageFilesystems: [], containerFilesystems: [] }) },
          folders: { 'container logs': join(dir, 'logs') },
          root,
        });
      assert.equal(await told(join(dir, 'link')), 'Of 8 MiB, 3 MiB are used: container logs 3 MiB.');
      assert.equal(await told('/proc'), 'Of 8 MiB, 3 MiB are used: other files 3 MiB.');
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
