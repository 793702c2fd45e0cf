import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/core/index.ts';
import { findContainerd, searchPath, supportedVersion } from '../../../src/cri/containerd/binary.ts';
import { findCniPlugins } from '../../../src/cri/containerd/cni.ts';
import { defaultRuntime } from '../../../src/cri/containerd/default-runtime.ts';
import { cgroupsUnusable, probeHost, useSystemdCgroup } from '../../../src/cri/containerd/host-facts.ts';
import { lastComplaints, logSince, rotateLog } from '../../../src/cri/containerd/log-file.ts';
import { containerdEnv } from '../../../src/cri/containerd/prepare.ts';
import { findRuntimes } from '../../../src/cri/containerd/runtimes.ts';

async function inFolder(files: Record<string, string>, body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'kat-host-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(dir, path, '..'), { recursive: true });
      await writeFile(join(dir, path), text);
      if (text.startsWith('#!')) await chmod(join(dir, path), 0o755);
    }
    await body(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

const ALL_CAPS = 'CapEff:\t000001ffffffffff\n';
const WHOLE_HOST = '         0          0 4294967295\n';

describe('the facts of a host', () => {
  it('are an ordinary cgroup v2 host under systemd', () =>
    inFolder(
      {
        'proc/self/uid_map': WHOLE_HOST,
        'proc/self/status': ALL_CAPS,
        'sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
      },
      async (dir) => {
        const facts = await probeHost({ INVOCATION_ID: 'x' }, dir);
        assert.deepEqual(
          [facts.userNamespace, facts.mayLowerOomScore, facts.cgroupVersion, facts.systemd],
          [false, true, 2, true],
        );
        assert.ok(useSystemdCgroup(facts));
        assert.ok(!useSystemdCgroup({ ...facts, systemd: false }));
        assert.ok(!useSystemdCgroup({ ...facts, userNamespace: true }));
        assert.ok(!useSystemdCgroup({ ...facts, controllers: ['cpu'] }));
        assert.ok(!cgroupsUnusable(facts));
        assert.ok(cgroupsUnusable({ ...facts, userNamespace: true, controllers: ['cpu'] }));
      },
    ));

  it('are cgroup v1, a user namespace, a missing CAP_SYS_RESOURCE', () =>
    inFolder(
      {
        'proc/self/uid_map': '0 100000 65536\n',
        'proc/self/status': 'CapEff:\t000001fffeffffff\n',
        'proc/cgroups': '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t0\t1\t0\n',
      },
      async (dir) => {
        const facts = await probeHost({}, dir);
        assert.deepEqual(
          [facts.userNamespace, facts.mayLowerOomScore, facts.cgroupVersion, facts.controllers],
          [true, false, 1, ['cpuset']],
        );
      },
    ));
});

describe('programs', () => {
  it('are found in order, and a missing containerd says what to install', () =>
    inFolder({ 'a/containerd': 'not executable', 'b/containerd': '#!', 'b/ctr': '#!' }, async (dir) => {
      const found = await findContainerd([join(dir, 'a'), join(dir, 'b')]);
      assert.equal(found.path, join(dir, 'b/containerd'));
      assert.equal(found.ctr, join(dir, 'b/ctr'));
      await assert.rejects(findContainerd([join(dir, 'a')]), { code: 'CONTAINERD_NOT_FOUND' });
      await assert.rejects(findContainerd([], join(dir, 'nothing')), { code: 'CONTAINERD_NOT_FOUND' });
    }));

  it("of runtimes are k3s's, by full path", () =>
    inFolder(
      { 'bin/crun': '#!', 'bin/nvidia-container-runtime': '#!', 'bin/containerd-shim-spin-v2': '#!' },
      async (dir) => {
        const runtimes = await findRuntimes([join(dir, 'bin')]);
        assert.deepEqual(runtimes, [
          { name: 'crun', type: 'io.containerd.runc.v2', binary: join(dir, 'bin/crun') },
          { name: 'nvidia', type: 'io.containerd.runc.v2', binary: join(dir, 'bin/nvidia-container-runtime') },
          { name: 'spin', type: 'io.containerd.spin.v2', binary: join(dir, 'bin/containerd-shim-spin-v2') },
        ]);
      },
    ));

  it('crun is the default where it can be: new enough for containerd, and no controllers lie in v2 beside v1', async () => {
    const asks: string[] = [];
    const pick = async (crun: string, containerd: string, mixedCgroups = false, asked?: string) => {
      const exec = { run: async () => ({ stdout: `crun version ${crun}\ncommit: x\nspec: 1.0.0\n` }) };
      return defaultRuntime({
        asked,
        found: crun === '' ? [] : [{ name: 'crun', type: 'io.containerd.runc.v2', binary: '/usr/bin/crun' }],
        containerd: supportedVersion(`containerd x ${containerd} y`),
        facts: { mixedCgroups },
        exec: exec as never,
        log: { ...silentLogger, info: (_, fields) => void asks.push(String(fields?.why)) },
      });
    };
    assert.equal(await pick('1.8.1', '1.6.20~ds1'), 'crun');
    assert.equal(await pick('1.8.1', '1.7.24'), undefined);
    assert.match(asks.at(-1) ?? '', /needs crun 1\.14\.3 or newer, this is 1\.8\.1/);
    assert.equal(await pick('1.14.3', '2.1.9'), 'crun');
    assert.equal(await pick('1.21', '2.1.9'), 'crun');
    assert.equal(await pick('1.14', '2.1.9'), undefined);
    assert.equal(await pick('nonsense', '1.6.20'), undefined);
    assert.equal(await pick('1.21', '1.6.20', true), undefined);
    assert.equal(await pick('', '1.6.20'), undefined);
    assert.equal(await pick('1.21', '1.6.20', false, 'runc'), 'runc');
    await assert.rejects(pick('1.21', '1.6.20', false, 'nvidia'), { code: 'RUNTIME_NOT_FOUND' });
  });

  it('of CNI come from the fullest folder first, and the missing are named', () =>
    inFolder({ 'a/loopback': '', 'b/bridge': '', 'b/host-local': '', 'b/loopback': '' }, async (dir) => {
      const { binDirs, missing } = await findCniPlugins([join(dir, 'a'), join(dir, 'b'), join(dir, 'c')]);
      assert.deepEqual(binDirs, [join(dir, 'b'), join(dir, 'a')]);
      assert.deepEqual(missing, ['portmap']);
    }));

  it("get the agent's environment without its secrets, CONTAINERD_ settings winning", () => {
    const env = containerdEnv(
      {
        PATH: '/bin',
        HTTPS_PROXY: 'a',
        CONTAINERD_HTTPS_PROXY: 'b',
        CONTAINERD_LOG_LEVEL: 'debug',
        K3S_TOKEN: 'secret',
        NOTIFY_SOCKET: '/x',
        HOME: '/root',
      },
      '/opt/k/containerd',
    );
    assert.deepEqual(env, { PATH: '/opt/k:/bin', HTTPS_PROXY: 'b', HOME: '/root' });
    assert.ok(searchPath({}).includes('/usr/bin'));
  });
});

describe("containerd's log", () => {
  it('is rotated by size, a bounded number of times, and goes on in the same file', () =>
    inFolder({ 'c.log': '' }, async (dir) => {
      const path = join(dir, 'c.log');
      const { readdir, readFile, stat } = await import('node:fs/promises');
      for (let i = 0; i < 5; i++) {
        await writeFile(path, `${i}`.repeat(2_000));
        assert.equal(await rotateLog({ path, maxBytes: 1_000, keep: 2 }), true);
      }
      assert.equal((await stat(path)).size, 0);
      assert.equal(await rotateLog({ path, maxBytes: 1_000, keep: 2 }), false);
      assert.deepEqual((await readdir(dir)).sort(), ['c.log', 'c.log.1.gz', 'c.log.2.gz']);
      const { gunzipSync } = await import('node:zlib');
      assert.equal(gunzipSync(await readFile(`${path}.1.gz`)).toString(), '4'.repeat(2_000));
    }));

  it('gives the errors of the last start', () =>
    inFolder(
      {
        log: 'time="t" level=error msg="old"\ntime="t" level=info msg="x"\ntime="t" level=error msg="failed \\"a\\"" error="no b"\ncontainerd: boom\n',
      },
      async (dir) => {
        assert.equal(lastComplaints(await logSince(join(dir, 'log'), 31)), 'failed \\"a\\": no b | containerd: boom');
        assert.equal(lastComplaints(await logSince(join(dir, 'none'), 0)), '');
      },
    ));
});
