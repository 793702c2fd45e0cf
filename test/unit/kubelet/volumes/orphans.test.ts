import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger, systemClock } from '../../../../src/core/index.ts';
import { hostExec } from '../../../../src/host/index.ts';
import { createMaterials, type MaterialsOptions } from '../../../../src/kubelet/index.ts';

test('what an earlier agent left is found; folders that are no pod’s are left alone', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'kat-orphans-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const folder of [
    'kubelet/pods/lost+found',
    'kubelet/pods/6f1c0b0e-left',
    'kubelet/pods/known',
    'kubelet/pods-memory/7a-memory',
    'cgroup/kubepods/besteffort/pod8b-cgroup',
    'cgroup/kubepods/burstable/pod..',
  ])
    await mkdir(join(root, folder), { recursive: true });
  const materials = createMaterials({
    rootDir: join(root, 'kubelet'),
    clock: systemClock,
    log: silentLogger,
    exec: hostExec,
    cgroups: { version: 2, driver: 'cgroupfs', mount: join(root, 'cgroup') },
    memoryCapacity: 2 ** 30,
  } as unknown as MaterialsOptions);
  const found = await materials.orphans(new Set(['known']));
  assert.deepEqual(found.sort(), ['6f1c0b0e-left', '7a-memory', '8b-cgroup']);
});
