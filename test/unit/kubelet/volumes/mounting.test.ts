import assert from 'node:assert/strict';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import type { Exec } from '../../../../src/host/index.ts';
import { createMounter, ensureSharedTmpfs } from '../../../../src/kubelet/volumes/index.ts';
import { isShared } from '../../../../src/kubelet/volumes/shared-root.ts';

const signal = new AbortController().signal;
const tmpfs = { source: 'tmpfs', target: '/t', type: 'tmpfs', options: ['size=1'] };

function failing(code: string, message: string): Exec {
  return { run: () => Promise.reject(new AgentError({ code, message })) };
}

describe('a mount program that does not do', () => {
  const cases: [string, string][] = [
    ['EXEC_FAILED', "mount -c -t failed (exit 1): mount: invalid option -- 'c' | BusyBox v1.35.0 multi-call binary."],
    ['EXEC_FAILED', 'mount -c -t failed (exit 1): mount: unrecognized option: c'],
    ['EXEC_NOT_FOUND', 'the program mount is not installed'],
  ];
  it('is told apart from a mount that fails, with what to install', async () => {
    for (const [code, message] of cases) {
      const mounter = createMounter(failing(code, message), { scratchDir: '/tmp' });
      for (const attempt of [mounter.mount([tmpfs], signal), mounter.unmount(['/t'], signal)])
        await assert.rejects(attempt, (error: AgentError) => {
          assert.equal(error.code, 'MOUNT_TOOL', message);
          assert.match(error.remedy ?? '', /util-linux.*apt install mount/);
          return true;
        });
    }
    const mounter = createMounter(failing('EXEC_FAILED', 'mount: /t: permission denied.'), { scratchDir: '/tmp' });
    await assert.rejects(mounter.mount([tmpfs], signal), { code: 'EXEC_FAILED' });
  });

  it('is named with its remedy when the agent starts', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-tool-'));
    const mounter = createMounter(failing(...(cases[0] as [string, string])), { scratchDir: dir });
    await assert.rejects(ensureSharedTmpfs(join(dir, 'memory'), 4096, mounter, signal), (error: AgentError) => {
      assert.equal(error.code, 'VOLUME_TMPFS');
      assert.match(error.message, /BusyBox's/);
      assert.match(error.remedy ?? '', /util-linux/);
      return true;
    });
    await rm(dir, { recursive: true });
  });
});

describe("the pods' folder", () => {
  const line = (at: string, ...tags: string[]) =>
    `1 2 0:3 / ${at} rw,relatime ${[...tags, ''].join(' ')}- ext4 /dev/x rw`;
  const info = (...lines: string[]) => `${lines.join('\n')}\n`;

  it('is shared if the mount it lies on is', () => {
    assert.equal(isShared(info(line('/', 'shared:1')), '/var/lib/kubelet'), true);
    assert.equal(isShared(info(line('/')), '/var/lib/kubelet'), false);
    assert.equal(isShared(info(line('/', 'master:1')), '/var/lib/kubelet'), false);
    assert.equal(isShared(info(line('/'), line('/var', 'shared:2', 'master:1')), '/var/lib/kubelet'), true);
    assert.equal(isShared(info(line('/', 'shared:1'), line('/var/lib/kubelet')), '/var/lib/kubelet'), false);
    assert.equal(isShared(info(line('/', 'shared:1'), line('/var/lib/kube')), '/var/lib/kubelet'), true);
    assert.equal(isShared(info(line('/v', 'shared:1'), line('/v')), '/v/x'), false, 'the one on top counts');
  });

  it('is made shared once where it is not, and else no process starts', async () => {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'kat-shared-')));
    const mountinfo = join(dir, 'mountinfo');
    const runs: string[][] = [];
    const exec: Exec = {
      async run(argv) {
        runs.push([...argv]);
        return { code: 0, stdout: '', stderr: '' };
      },
    };
    const mounter = createMounter(exec, { scratchDir: dir, mountinfo });
    await writeFile(mountinfo, info(line('/', 'shared:1')));
    assert.equal(await mounter.share(dir, signal), false);
    assert.deepEqual(runs, []);
    await writeFile(mountinfo, info(line('/')));
    assert.equal(await mounter.share(dir, signal), true);
    assert.deepEqual(runs, [
      ['mount', '-c', '--rbind', dir, dir],
      ['mount', '-c', '--make-rshared', dir],
    ]);
    await rm(dir, { recursive: true });
  });
});
