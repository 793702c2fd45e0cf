import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../../src/core/index.ts';
import { hostExec } from '../../src/host/index.ts';
import type { Pod } from '../../src/kube/index.ts';
import { type CgroupManager, createCgroupManager } from '../../src/kubelet/cgroups/index.ts';

const signal = new AbortController().signal;
const V1 = '/sys/fs/cgroup';
const isV1 = await stat(`${V1}/memory/memory.limit_in_bytes`).then(
  () => true,
  () => false,
);
const skip = process.getuid?.() !== 0 ? 'needs root' : isV1 ? false : 'the host has no cgroup v1';

const pod = (uid: string, resources: object): Pod =>
  ({
    metadata: { name: 'p', namespace: 'n', uid },
    spec: { containers: [{ name: 'c', resources }] },
  }) as unknown as Pod;
const limits = { cpu: '200m', memory: '32Mi' };

describe('pod cgroups on v1', { skip, timeout: 60_000 }, () => {
  const root = `/kat-pods-${process.pid}`;
  let manager: CgroupManager;
  const make = () =>
    createCgroupManager({
      version: 1,
      driver: 'cgroupfs',
      root,
      memoryBytes: 2 ** 29,
      milliCpu: 2000,
      exec: hostExec,
      clock: systemClock,
      cpuCfsQuota: true,
      pidsLimit: 50,
    });
  const value = async (path: string) => (await readFile(join(V1, path), 'utf8')).trim();
  const exists = (path: string) =>
    stat(join(V1, path)).then(
      () => true,
      () => false,
    );
  before(async () => {
    manager = make();
    await manager.start(signal);
  });
  after(async () => {
    for (const uid of await manager.pods()) await manager.release(uid, signal);
    for (const c of ['cpu', 'memory', 'pids'])
      for (const path of ['kubepods/burstable', 'kubepods/besteffort', 'kubepods', ''])
        await rmdir(join(V1, c, root, path)).catch(() => {});
  });

  it('are bound as the pod says, tiers as their pods ask', async () => {
    assert.equal(await value(`memory${root}/kubepods/memory.limit_in_bytes`), String(2 ** 29));
    await manager.ensure(pod('g', { limits, requests: limits }), signal);
    assert.equal(await value(`cpu${root}/kubepods/podg/cpu.cfs_quota_us`), '20000');
    assert.equal(await value(`memory${root}/kubepods/podg/memory.limit_in_bytes`), String(2 ** 25));
    assert.equal(await value(`pids${root}/kubepods/podg/pids.max`), '50');
    await manager.ensure(pod('b1', { requests: { cpu: '500m' } }), signal);
    await manager.ensure(pod('b2', { requests: { cpu: '250m' } }), signal);
    assert.equal(await value(`cpu${root}/kubepods/burstable/cpu.shares`), '768');
    await manager.release('b2', signal);
    assert.equal(await value(`cpu${root}/kubepods/burstable/cpu.shares`), '512');
    assert.equal(manager.parent(pod('e', {})), `${root}/kubepods/besteffort/pode`);
  });

  it('go with whatever still runs in them, also after a restart', async () => {
    await manager.ensure(pod('left', {}), signal);
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const inner = `${root}/kubepods/besteffort/podleft/container`;
    for (const controller of ['cpu', 'freezer']) {
      await mkdir(join(V1, controller, inner), { recursive: true });
      await writeFile(join(V1, controller, inner, 'cgroup.procs'), String(child.pid));
    }
    manager = make();
    assert.ok((await manager.pods()).includes('left'));
    const [, killedBy] = await Promise.all([manager.release('left', signal), once(child, 'exit').then(([, s]) => s)]);
    assert.equal(killedBy, 'SIGKILL');
    assert.equal(await exists(`freezer${root}/kubepods/besteffort/podleft`), false);
    assert.equal((await manager.pods()).includes('left'), false);
    await manager.release('left', signal);
    await rm(join(V1, 'freezer', root, 'kubepods'), { recursive: true, force: true }).catch(() => {});
    for (const path of ['kubepods/besteffort', 'kubepods', ''])
      await rmdir(join(V1, 'freezer', root, path)).catch(() => {});
  });
});

describe('pod cgroups on v2', () => {
  it('share the controllers out from the root down, and are one folder each', async () => {
    // A folder that looks like cgroup2: files do not appear by themselves, so they are put where they will be written.
    const mount = await mkdtemp(join(tmpdir(), 'kat-cgroup2-'));
    const limit = { limits, requests: limits };
    const folder = async (path: string) => {
      await mkdir(join(mount, path), { recursive: true });
      const files = { 'cgroup.controllers': 'cpuset cpu io memory pids', 'cgroup.subtree_control': 'io' };
      const values = { 'cpu.weight': '100', 'cpu.max': 'max 100000', 'memory.max': 'max', 'pids.max': 'max' };
      for (const [name, text] of Object.entries({ ...files, ...values }))
        await writeFile(join(mount, path, name), `${text}\n`);
    };
    try {
      for (const path of ['', 'kubepods', 'kubepods/burstable', 'kubepods/besteffort', 'kubepods/podg'])
        await folder(path);
      const manager = createCgroupManager({
        version: 2,
        driver: 'cgroupfs',
        mount,
        memoryBytes: 2 ** 29,
        milliCpu: 1000,
        exec: hostExec,
        clock: systemClock,
        cpuCfsQuota: true,
      });
      await manager.start(signal);
      await manager.ensure(pod('g', limit), signal);
      const value = (path: string) => readFile(join(mount, path), 'utf8');
      assert.equal(await value('kubepods/memory.max'), String(2 ** 29));
      assert.equal(await value('kubepods/podg/cpu.max'), '20000 100000');
      assert.equal(await value('kubepods/podg/memory.max'), String(2 ** 25));
      assert.equal(await value('kubepods/burstable/cpu.weight'), '1');
      assert.match(await value('kubepods/cgroup.subtree_control'), /^\+/);
      assert.deepEqual(await manager.pods(), ['g']);
    } finally {
      await rm(mount, { recursive: true });
    }
  });
});
