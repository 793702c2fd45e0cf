import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readCgroupMemory, readCgroupTasks } from '../../../../src/kubelet/cgroups/usage.ts';
import { nodePaths } from '../../../../src/kubelet/eviction/index.ts';
import { observe } from '../../../../src/kubelet/eviction/observe.ts';
import type { Signal } from '../../../../src/kubelet/eviction/signals.ts';
import { makePod } from '../../../fakes/pods.ts';

describe('reading the node', () => {
  let dir: string;
  const put = async (path: string, text: string) => {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), text);
  };
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kat-observe-'));
    await put('v1/memory/kubepods/memory.usage_in_bytes', '1000000\n');
    await put('v1/memory/kubepods/memory.stat', 'inactive_file 1\ntotal_inactive_anon 7\ntotal_inactive_file 400000\n');
    await put('v1/pids/kubepods/pids.current', '12\n');
    await put('v2/kubepods.slice/memory.current', '1000000\n');
    await put('v2/kubepods.slice/memory.stat', 'anon 5\ninactive_anon 300000\ninactive_file 250000\n');
    await put('v2/kubepods.slice/pids.current', '13\n');
    await put('proc/meminfo', 'MemTotal: 4000 kB\nAnonPages: 1000 kB\nInactive(anon): 600 kB\nSwapFree: 1000 kB\n');
    await put('proc/swaps', 'Filename\t\tType\n/dev/zram0 partition 1000\n');
    await put('proc/sys/kernel/pid_max', '32768\n');
    await put('proc/sys/kernel/threads-max', '1000\n');
    await put('proc/loadavg', '0.00 0.01 0.05 2/300 12345\n');
  });
  after(() => rm(dir, { recursive: true }));

  it('takes the working set and tasks of a cgroup of either version, with all below it', async () => {
    const v1 = { version: 1 as const, mount: join(dir, 'v1') };
    const v2 = { version: 2 as const, mount: join(dir, 'v2') };
    assert.deepEqual(await readCgroupMemory(v1, '/kubepods'), { workingSet: 600000, inactiveAnon: 7 });
    assert.deepEqual(await readCgroupMemory(v2, '/kubepods.slice'), { workingSet: 750000, inactiveAnon: 300000 });
    assert.deepEqual([await readCgroupTasks(v1, '/kubepods'), await readCgroupTasks(v2, '/kubepods.slice')], [12, 13]);
    assert.equal(await readCgroupMemory(v2, '/nothing'), undefined);
    assert.equal(await readCgroupTasks(v1, '/nothing'), undefined);
  });

  const look = (signals: Signal[]) =>
    observe({
      signals: new Set(signals),
      nodeDir: dir,
      imageDir: join(dir, 'nothing'),
      cgroups: { version: 2, mount: join(dir, 'v2') },
      kubepods: '/kubepods.slice',
      allocatableMemory: 800000,
      procDir: join(dir, 'proc'),
    });

  it('reads only what is asked for, and leaves out what can not be read', async () => {
    assert.deepEqual([...(await look([])).keys()], []);
    const disks = await look(['nodefs.available', 'imagefs.available']);
    assert.ok((disks.get('nodefs.available')?.capacity ?? 0) > 0);
    assert.equal(disks.get('imagefs.available'), undefined);
  });

  it('counts tasks against the lower of the two bounds of the kernel', async () => {
    assert.deepEqual((await look(['pid.available'])).get('pid.available'), { available: 700, capacity: 1000 });
  });

  it('counts what pods have left together, and zram but for what containers hold', async () => {
    const seen = await look(['memory.available']);
    assert.deepEqual(seen.get('allocatableMemory.available'), { available: 50000, capacity: 800000 });
    const movable = Math.floor((600 * 1024 - 300000) / 2);
    assert.deepEqual(seen.get('memory.available'), { available: 3000 * 1024 + movable, capacity: 4000 * 1024 });
  });

  it('knows where pods have their cgroups with either driver', () => {
    const pod = makePod('p', {}, { uid: 'a-b' });
    const of = (driver: 'cgroupfs' | 'systemd') => nodePaths({ rootDir: '/k', version: 2, driver }).cgroupOf(pod);
    assert.equal(of('cgroupfs'), '/kubepods/besteffort/poda-b');
    assert.equal(of('systemd'), '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice');
  });
});
