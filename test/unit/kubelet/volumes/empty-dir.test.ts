import assert from 'node:assert/strict';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { type EmptyDirSource, ensureEmptyDir } from '../../../../src/kubelet/volumes/empty-dir.ts';
import { neverSwapped } from '../../../../src/kubelet/volumes/mounter.ts';

const Gi = 2 ** 30;
const pod = (resources: object[], spec: object = {}): Pod =>
  ({
    metadata: { name: 'p', namespace: 'ns', uid: 'u' },
    spec: { containers: resources.map((r, i) => ({ name: `c${i}`, resources: r })), ...spec },
  }) as unknown as Pod;

describe('an emptyDir', () => {
  let dir: string;
  let count = 0;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kat-empty-dir-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const mountOf = (source: EmptyDirSource, of: Pod) =>
    ensureEmptyDir(source, { pod: of, directory: join(dir, `v${count++}`), allocatableMemory: Gi });
  const size = async (sizeLimit: string | undefined, ...resources: object[]) => {
    const mount = await mountOf({ medium: 'Memory', ...(sizeLimit && { sizeLimit }) }, pod(resources));
    return mount?.options.find((o) => o.startsWith('size='))?.slice('size='.length);
  };
  const limit = (memory: string) => ({ limits: { memory } });

  it('in memory is as large as the least of node, pod and its own limit', async () => {
    assert.equal(await size(undefined, {}), String(Gi));
    assert.equal(await size('64Mi', {}), String(64 * 2 ** 20));
    assert.equal(await size('64Mi', limit('16Mi'), limit('16Mi')), String(32 * 2 ** 20));
    assert.equal(await size('8Mi', limit('16Mi')), String(8 * 2 ** 20));
  });

  it('in memory is not bound by the limit of one container while another has none', async () => {
    assert.equal(await size(undefined, limit('16Mi'), {}), String(Gi));
  });

  it('with an absurd limit is bound by the node, one that is no quantity is refused', async () => {
    for (const absurd of ['0', '-5', '1e300', '9999999999999999999E'])
      assert.equal(await size(absurd, {}), String(Gi), absurd);
    assert.equal(await size('1', {}), '4096');
    for (const bad of ['many', '1e999', '1GiB']) await assert.rejects(size(bad, {}), { code: 'QUANTITY_INVALID' });
  });

  it('in memory never goes to the swap where the kernel can do that', async () => {
    assert.deepEqual(
      [neverSwapped('6.4.0'), neverSwapped('6.3.9'), neverSwapped('5.15.0-tegra')],
      [['noswap'], [], []],
    );
    const mount = await mountOf({ medium: 'Memory' }, pod([{}]));
    assert.equal(mount?.options.includes('noswap'), neverSwapped(release()).length > 0);
  });

  it('of huge pages has the size the pod asks for', async () => {
    const pages = (...sizes: string[]) => ({
      limits: Object.fromEntries(sizes.map((s) => [`hugepages-${s}`, '4Mi'])),
    });
    const option = async (medium: string, of: Pod) =>
      (await mountOf({ medium }, of))?.options.find((o) => o.startsWith('pagesize='));
    assert.equal(await option('HugePages', pod([pages('2Mi'), {}])), `pagesize=${2 ** 21}`);
    assert.equal(await option('HugePages-1Gi', pod([pages('2Mi', '1Gi')])), `pagesize=${2 ** 30}`);
    assert.equal(
      await option('HugePages', pod([{}], { resources: { requests: { 'hugepages-64Ki': '64Ki' } } })),
      'pagesize=65536',
    );
    await assert.rejects(option('HugePages', pod([pages('2Mi', '1Gi')])), {
      message: "medium: HugePages can't be used if container requests multiple huge page sizes",
    });
    for (const medium of ['HugePages', 'HugePages-1Gi'])
      await assert.rejects(option(medium, pod([medium === 'HugePages' ? {} : pages('2Mi')])), {
        message: `medium ${medium}: hugePages storage requested, but there is no resource request for huge pages`,
      });
  });

  it('of an unknown medium is refused', async () => {
    await assert.rejects(mountOf({ medium: 'HugePages-x' }, pod([{}])), { code: 'QUANTITY_INVALID' });
    await assert.rejects(mountOf({ medium: 'Tape' }, pod([{}])), { message: 'unknown storage medium "Tape"' });
  });

  it('may let only owners remove their files', async () => {
    const directory = join(dir, 'sticky');
    await ensureEmptyDir({ stickyBit: true }, { pod: pod([{}]), directory, allocatableMemory: Gi });
    assert.equal(((await stat(directory)).mode & 0o7777).toString(8), '1777');
  });
});
