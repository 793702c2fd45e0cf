import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '../../src/core/index.ts';
import { hostExec } from '../../src/host/index.ts';
import type { Pod, Volume } from '../../src/kube/index.ts';
import type { ContainerMaterials, PodVolumes } from '../../src/kubelet/index.ts';
import { removeTree } from '../../src/kubelet/volumes/index.ts';
import { apiAccess, createVolumesLab, signal, type VolumesLab, volumePod } from './volumes-lab.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root for mounts';

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`not so in time: ${what}`);
    await systemClock.sleep(20);
  }
}

describe('volumes', { skip, timeout: 120_000 }, () => {
  let lab: VolumesLab;
  before(async () => {
    lab = await createVolumesLab();
    lab.api.put('ConfigMap', 'ns', 'kube-root-ca.crt', { 'ca.crt': 'CA' });
    await lab.materials.start(signal);
  });
  after(() => lab.end());

  const up = async (pod: Pod): Promise<PodVolumes> => {
    await lab.materials.preparePod(pod, signal);
    const result = await lab.materials.mountVolumes(pod, signal);
    assert.ok(result.ready, JSON.stringify(result));
    return result.volumes;
  };
  const fails = async (pod: Pod): Promise<string[]> => {
    const result = await lab.materials.mountVolumes(pod, signal);
    assert.equal(result.ready, false);
    return result.ready ? [] : result.failures.map((f) => f.message);
  };
  const at = (volumes: PodVolumes, name: string) => volumes.get(name)?.hostPath as string;
  const text = (path: string) => readFile(path, 'utf8');
  const mode = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8);
  const podDir = (uid: string) => join(lab.dir, 'kubelet/pods', uid);
  const make = (pod: Pod, volumes: PodVolumes, restartCount = 0): Promise<ContainerMaterials> =>
    lab.materials.container(
      {
        pod,
        container: pod.spec.containers[0] as Pod['spec']['containers'][number],
        restartCount,
        podIps: ['10.42.0.5'],
        volumes,
        image: { ref: 'sha256:x' },
      },
      signal,
    );

  it('give every pod its token, CA and namespace without starting a process', async () => {
    const before = lab.processes.length;
    const volumes = await up(volumePod('a1', [apiAccess]));
    const dir = at(volumes, apiAccess.name);
    assert.match(await text(join(dir, 'token')), /^token-/);
    assert.equal(await text(join(dir, 'ca.crt')), 'CA');
    assert.equal(await text(join(dir, 'namespace')), 'ns');
    assert.equal(await mode(join(dir, 'token')), '644');
    assert.equal(lab.processes.length, before);
    const usual = join(podDir('a1'), 'volumes/kubernetes.io~projected', apiAccess.name);
    assert.equal(await text(join(usual, 'namespace')), 'ns');
  });

  it('never let secrets reach the disk', async () => {
    lab.api.put('Secret', 'ns', 'pw', { password: 'hunter2' });
    const volumes = await up(volumePod('a2', [{ name: 's', secret: { secretName: 'pw', defaultMode: 0o400 } }]));
    const file = join(at(volumes, 's'), 'password');
    assert.equal(await text(file), 'hunter2');
    assert.equal(await mode(file), '400');
    assert.notEqual((await stat(file)).dev, (await stat(podDir('a2'))).dev);
    assert.equal((await mode(join(lab.dir, 'kubelet/pods-memory'))).slice(-3), '700');
    assert.equal(volumes.get('s')?.readOnly, true);
  });

  it('follow their ConfigMap at once, all files together', async () => {
    lab.api.put('ConfigMap', 'ns', 'conf', { a: '1', b: '1' });
    const pod = volumePod('a3', [{ name: 'c', configMap: { name: 'conf' } }]);
    const dir = at(await up(pod), 'c');
    const version = await readlink(join(dir, '..data'));
    lab.api.put('ConfigMap', 'ns', 'conf', { a: '2', 'c.txt': 'new' });
    await until('the change is there', async () => (await readlink(join(dir, '..data'))) !== version);
    await until('old names are gone', async () => !(await readdir(dir)).includes('b'));
    assert.deepEqual([await text(join(dir, 'a')), await text(join(dir, 'c.txt'))], ['2', 'new']);
    assert.equal((await readdir(dir)).length, 4, 'one version, ..data and two names');
    const same = await readlink(join(dir, '..data'));
    await up(pod);
    assert.equal(await readlink(join(dir, '..data')), same, 'nothing is written when nothing changed');
  });

  it('place items at their paths with their modes, and refuse paths that lead out', async () => {
    lab.api.put('ConfigMap', 'ns', 'items', { k: 'v' });
    const volume = (path: string): Volume => ({
      name: 'c',
      configMap: { name: 'items', items: [{ key: 'k', path, mode: 0o600 }] },
    });
    const dir = at(await up(volumePod('a4', [volume('deep/er/file')])), 'c');
    assert.equal(await text(join(dir, 'deep/er/file')), 'v');
    assert.equal(await mode(join(dir, 'deep/er/file')), '600');
    for (const path of ['../x', '/etc/x', '..data', 'a/../../x'])
      assert.match((await fails(volumePod('a5', [volume(path)])))[0] ?? '', /invalid path/);
    const absent = { name: 'c', configMap: { name: 'items', items: [{ key: 'none', path: 'x' }] } };
    assert.deepEqual(await fails(volumePod('a6', [absent])), [
      'MountVolume.SetUp failed for volume "c" : configmap references non-existent config key: none',
    ]);
  });

  it('say what is missing as upstream does, and tell when it appears', async () => {
    const pod = volumePod('a7', [
      { name: 'v', secret: { secretName: 'absent' } },
      { name: 'o', configMap: { name: 'nothing', optional: true } },
    ]);
    const told: string[] = [];
    const stop = lab.materials.onVolumesMayBeReady((uid) => told.push(uid));
    assert.deepEqual(await fails(pod), ['MountVolume.SetUp failed for volume "v" : secret "absent" not found']);
    lab.api.put('Secret', 'ns', 'absent', { k: 'v' });
    await until('told', async () => told.includes('a7'));
    stop();
    await up(pod);
  });

  it('give files to the pod group, and tokens to the one user of the pod', async () => {
    lab.api.put('ConfigMap', 'ns', 'grp', { k: 'v' });
    const pod = volumePod(
      'a8',
      [apiAccess, { name: 'c', configMap: { name: 'grp', defaultMode: 0o600 } }, { name: 'e', emptyDir: {} }],
      {
        securityContext: { fsGroup: 4321, runAsUser: 1234 },
      },
    );
    const volumes = await up(pod);
    const token = await stat(join(at(volumes, apiAccess.name), 'token'));
    assert.deepEqual([token.uid, token.gid, token.mode & 0o777], [1234, 4321, 0o640]);
    const file = await stat(join(at(volumes, 'c'), 'k'));
    assert.deepEqual([file.gid, file.mode & 0o777], [4321, 0o640]);
    assert.equal((await stat(at(volumes, 'e'))).gid, 4321);
    assert.equal(await mode(at(volumes, 'e')), '2777');
  });

  it('show changed labels in downward API files', async () => {
    const pod = volumePod('a9', [
      {
        name: 'd',
        downwardAPI: {
          items: [
            { path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } },
            { path: 'mem', resourceFieldRef: { containerName: 'main', resource: 'limits.memory', divisor: '1Mi' } },
          ],
        },
      },
    ]);
    const dir = at(await up(pod), 'd');
    assert.deepEqual([await text(join(dir, 'labels')), await text(join(dir, 'mem'))], ['app="x"', '1024']);
    await up({ ...pod, metadata: { ...pod.metadata, labels: { app: 'y', b: 'q"t' } } });
    assert.equal(await text(join(dir, 'labels')), 'app="y"\nb="q\\"t"');
  });

  it('mount all memory emptyDirs of a pod in one process, once, with their size', async () => {
    const pod = volumePod('b1', [
      { name: 'm1', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'm2', emptyDir: { medium: 'Memory', sizeLimit: '64Ki' } },
      { name: 'd', emptyDir: {} },
    ]);
    const before = lab.processes.length;
    const volumes = await up(pod);
    assert.equal(lab.processes.length, before + 1);
    await writeFile(join(at(volumes, 'm2'), 'fits'), Buffer.alloc(60_000));
    await assert.rejects(writeFile(join(at(volumes, 'm2'), 'not'), Buffer.alloc(100_000)), { code: 'ENOSPC' });
    assert.equal(await mode(at(volumes, 'm1')), '1777');
    assert.equal(await mode(at(volumes, 'd')), '777');
    await lab.restart();
    const processes = lab.processes.length;
    const again = await up(pod);
    assert.equal(lab.processes.length, processes, 'what stands is not mounted again');
    assert.equal((await readdir(at(again, 'm2'))).length, 2);
  });

  it('check host paths as upstream does', async () => {
    const dir = join(lab.dir, 'host');
    await mkdir(dir);
    const v = (path: string, type: string): Volume => ({ name: 'h', hostPath: { path, type } });
    assert.deepEqual(await fails(volumePod('b2', [v(join(dir, 'no'), 'Directory')])), [
      `MountVolume.SetUp failed for volume "h" : hostPath type check failed: ${dir}/no is not a directory`,
    ]);
    assert.match((await fails(volumePod('b2', [v(dir, 'File')])))[0] ?? '', /is not a file$/);
    assert.match((await fails(volumePod('b2', [v('/dev/null', 'BlockDevice')])))[0] ?? '', /is not a block device$/);
    await up(volumePod('b3', [v(join(dir, 'made/deep'), 'DirectoryOrCreate')]));
    await up(volumePod('b4', [v(join(dir, 'file'), 'FileOrCreate')]));
    assert.equal(await mode(join(dir, 'made/deep')), '755');
    await up(volumePod('b5', [v('/dev/null', 'CharDevice')]));
    await lab.materials.release('b3', signal);
    assert.ok(await stat(join(dir, 'made/deep')), 'a host path outlives its pod');
  });

  it('say what is not supported', async () => {
    const [message] = await fails(volumePod('b6', [{ name: 'n', nfs: { server: 's', path: '/' } }]));
    assert.equal(
      message,
      'MountVolume.SetUp failed for volume "n" : volumes of the kind nfs are not supported by this agent yet',
    );
  });

  it('stand after a restart without a server, and are whole again after a power cut', async () => {
    lab.api.put('Secret', 'ns', 'keep', { k: 'v' });
    const pod = volumePod('c1', [apiAccess, { name: 's', secret: { secretName: 'keep' } }]);
    const dir = at(await up(pod), 's');
    lab.api.down();
    await lab.restart();
    assert.equal(await text(join(at(await up(pod), 's'), 'k')), 'v');
    lab.api.up();
    await lab.restart();
    // What a cut can leave: a version half written, a link to nothing, a temporary link.
    await rm(join(dir, '..data'));
    await symlink('..2020_gone', join(dir, '..data'));
    await symlink('x', join(dir, '..data_tmp'));
    await mkdir(join(dir, '..2020_half'));
    await up(pod);
    assert.equal(await text(join(dir, 'k')), 'v');
    assert.equal((await readdir(dir)).length, 3);
  });

  it('go on with what an original agent left, mounts and all', async () => {
    lab.api.put('Secret', 'ns', 'orig', { k: 'new' });
    lab.api.put('ConfigMap', 'ns', 'orig', { k: 'new' });
    const pod = volumePod('c2', [
      { name: 's', secret: { secretName: 'orig' } },
      { name: 'c', configMap: { name: 'orig' } },
      { name: 'b', secret: { secretName: 'orig' } },
    ]);
    const left = (kind: string, name: string) => join(podDir('c2'), 'volumes', kind, name);
    const [secret, config, booted] = [
      left('kubernetes.io~secret', 's'),
      left('kubernetes.io~configmap', 'c'),
      left('kubernetes.io~secret', 'b'),
    ] as const;
    for (const dir of [secret, config, booted]) await mkdir(dir, { recursive: true });
    await hostExec.run(['mount', '-t', 'tmpfs', 'tmpfs', secret]);
    for (const dir of [secret, config, booted]) {
      await mkdir(join(dir, '..2020_old'));
      await writeFile(join(dir, '..2020_old/k'), 'old');
      await symlink('..2020_old', join(dir, '..data'));
      await symlink('..data/k', join(dir, 'k'));
    }
    const volumes = await up(pod);
    assert.deepEqual([at(volumes, 's'), at(volumes, 'c')], [secret, config]);
    for (const name of ['s', 'c', 'b']) assert.equal(await text(join(at(volumes, name), 'k')), 'new');
    assert.notEqual((await stat(at(volumes, 'b'))).dev, (await stat(podDir('c2'))).dev, 'no secret on the disk');
    await lab.materials.release('c2', signal);
    await assert.rejects(stat(podDir('c2')), { code: 'ENOENT' });
  });

  it('take subPaths from emptyDirs by descriptor, and from ConfigMaps without a mount', async () => {
    lab.api.put('ConfigMap', 'ns', 'sub', { 'app.conf': 'x=1' });
    const pod = volumePod(
      'd1',
      [
        { name: 'e', emptyDir: {} },
        { name: 'c', configMap: { name: 'sub' } },
      ],
      {
        containers: [
          {
            name: 'main',
            image: 'busybox',
            env: [{ name: 'WHO', value: 'me' }],
            volumeMounts: [
              { name: 'e', mountPath: '/a', subPath: 'deep/folder' },
              { name: 'e', mountPath: '/b', subPathExpr: 'for-$(WHO)' },
              { name: 'c', mountPath: '/etc/app.conf', subPath: 'app.conf' },
            ],
          },
        ],
      },
    );
    const volumes = await up(pod);
    const before = lab.processes.length;
    const { config } = await make(pod, volumes);
    assert.equal(lab.processes.length, before + 1, 'both binds in one process');
    const mount = (path: string) => config.mounts?.find((m) => m.containerPath === path)?.hostPath as string;
    assert.equal(await text(mount('/etc/app.conf')), 'x=1');
    // Written anew before the runtime gets to mounting it.
    const conf = mount('/etc/app.conf');
    lab.api.put('ConfigMap', 'ns', 'sub', { 'app.conf': 'x=2' });
    await until('the change is there', async () => (await text(join(at(volumes, 'c'), 'app.conf'))) === 'x=2');
    assert.equal(await text(conf), 'x=2');
    await writeFile(join(mount('/a'), 'f'), 'seen');
    assert.equal(await text(join(at(volumes, 'e'), 'deep/folder/f')), 'seen');
    await writeFile(join(mount('/b'), 'f'), 'seen');
    assert.equal(await text(join(at(volumes, 'e'), 'for-me/f')), 'seen');
    assert.equal(await mode(join(at(volumes, 'e'), 'deep')), '777');
    await make(pod, volumes, 1);
    assert.equal(lab.processes.length, before + 1, 'what is mounted already is left');
    // A file takes the folder's place: the container's next run gets it.
    await rm(join(at(volumes, 'e'), 'for-me'), { recursive: true });
    await writeFile(join(at(volumes, 'e'), 'for-me'), 'a file');
    await make(pod, volumes, 2);
    assert.equal(await text(mount('/b')), 'a file');
    await lab.materials.release('d1', signal);
    await assert.rejects(stat(podDir('d1')), { code: 'ENOENT' });
  });

  it('never let a subPath lead out of its volume', async () => {
    const pod = volumePod('d2', [{ name: 'e', emptyDir: {} }], {
      containers: [{ name: 'main', image: 'b', volumeMounts: [{ name: 'e', mountPath: '/a', subPath: 'x/y' }] }],
    });
    const volumes = await up(pod);
    const e = at(volumes, 'e');
    await symlink('/etc', join(e, 'x'));
    const refused = /^AgentError: failed to prepare subPath for volumeMount "e" of container "main"$/;
    const unmade = /^AgentError: failed to create subPath directory for volumeMount "e" of container "main"$/;
    await assert.rejects(make(pod, volumes), unmade);
    await rm(join(e, 'x'));
    await mkdir(join(e, 'x'));
    await symlink('/etc/passwd', join(e, 'x/y'));
    await assert.rejects(make(pod, volumes), refused);
    await assert.rejects(stat('/etc/y'), { code: 'ENOENT' });
  });

  it('mount what was checked although a container swaps folders for links meanwhile', async () => {
    const outside = join(lab.dir, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret'), '');
    const pod = volumePod('d3', [{ name: 'e', emptyDir: {} }], {
      containers: [{ name: 'main', image: 'b', volumeMounts: [{ name: 'e', mountPath: '/a', subPath: 'x/y' }] }],
    });
    const volumes = await up(pod);
    const e = at(volumes, 'e');
    // Turns x from a folder into a link to the outside and back, as fast as it can.
    await mkdir(join(lab.dir, 'trap'));
    await symlink(outside, join(lab.dir, 'trap/y'));
    const script = `const fs = require('fs'); process.chdir(process.argv[1]);
      const tries = [() => fs.renameSync('x', 'away'), () => fs.symlinkSync(process.argv[2], 'x'), () => fs.unlinkSync('x'),
        () => fs.mkdirSync('x/y', { recursive: true }), () => fs.rmSync('away', { recursive: true, force: true })];
      for (;;) for (const attempt of tries) try { attempt(); } catch {}`;
    const attacker = spawn(process.execPath, ['-e', script, e, `${lab.dir}/trap`], { stdio: 'ignore' });
    try {
      let mounted = 0;
      let refused = 0;
      for (let i = 0; i < 2000 && (mounted < 8 || refused < 8); i++) {
        const made = await make(pod, volumes).catch(() => void refused++);
        const path = made?.config.mounts?.find((m) => m.containerPath === '/a')?.hostPath;
        if (path === undefined) continue;
        mounted++;
        assert.equal((await readdir(path)).includes('secret'), false, 'the outside was mounted');
      }
      assert.ok(mounted > 0 && refused > 0, 'both outcomes were seen');
    } finally {
      attacker.kill('SIGKILL');
    }
    await lab.materials.release('d3', signal);
    assert.ok(await stat(join(outside, 'secret')));
  });

  it('are removed without following links, crossing mounts or minding depth', async () => {
    const precious = join(lab.dir, 'precious');
    await mkdir(precious);
    await writeFile(join(precious, 'file'), 'x');
    const pod = volumePod('e1', [
      { name: 'e', emptyDir: {} },
      { name: 'm', emptyDir: { medium: 'Memory' } },
    ]);
    const volumes = await up(pod);
    const e = at(volumes, 'e');
    await symlink(precious, join(e, 'link'));
    await writeFile(Buffer.concat([Buffer.from(`${e}/`), Buffer.from([0xff, 0xfe, 0x41])]), 'no utf-8');
    let deep = await open(e, constants.O_RDONLY | constants.O_DIRECTORY);
    for (let i = 0; i < 400; i++) {
      await mkdir(`/proc/self/fd/${deep.fd}/${'d'.repeat(50)}`);
      const next = await open(`/proc/self/fd/${deep.fd}/${'d'.repeat(50)}`, constants.O_RDONLY | constants.O_DIRECTORY);
      await deep.close();
      deep = next;
    }
    await deep.close();
    await chmod(e, 0o000);
    await lab.materials.release('e1', signal);
    await assert.rejects(lstat(podDir('e1')), { code: 'ENOENT' });
    assert.equal(await text(join(precious, 'file')), 'x');
    await lab.materials.release('e1', signal);
  });

  it('stop before something that is still mounted', async () => {
    const dir = join(podDir('e2'), 'x');
    await mkdir(dir, { recursive: true });
    const tmpfs = join(lab.dir, 'kubelet/pods-memory');
    await rename(dir, `${dir}-moved`);
    await symlink(tmpfs, dir);
    await removeTree(podDir('e2'));
    assert.ok(await stat(tmpfs), 'a link to a mount is only a link');
    await assert.rejects(removeTree(tmpfs), (e: Error) => /is still mounted/.test(e.message));
    assert.ok((await readdir(tmpfs)).length > 0);
  });

  it('of pods that are gone are found after a restart', async () => {
    await up(volumePod('f1', [apiAccess]));
    await up(volumePod('f2', [{ name: 'm', emptyDir: { medium: 'Memory' } }]));
    await lab.restart();
    const orphans = await lab.materials.orphans(new Set(['f2']));
    assert.ok(orphans.includes('f1') && !orphans.includes('f2'));
    await lab.materials.release('f1', signal);
    assert.equal((await lab.materials.orphans(new Set())).includes('f1'), false);
  });

  it('share one hosts file, keep two termination logs, and leave the logs to be removed later', async () => {
    const pod = volumePod('g1', [], {
      hostAliases: [{ ip: '1.2.3.4', hostnames: ['a.b', 'c'] }],
      hostname: 'box',
      subdomain: 'sub',
    });
    const volumes = await up(pod);
    let config = (await make(pod, volumes)).config;
    const source = (path: string) => config.mounts?.find((m) => m.containerPath === path)?.hostPath as string;
    assert.match(await text(source('/etc/hosts')), /\n10\.42\.0\.5\tbox\.sub\.ns\.svc\.cluster\.local\tbox\n/);
    assert.match(await text(source('/etc/hosts')), /\n# Entries added by HostAliases\.\n1\.2\.3\.4\ta\.b\tc\n$/);
    assert.equal(await mode(source('/dev/termination-log')), '666');
    for (let i = 1; i < 6; i++) config = (await make(pod, volumes, i)).config;
    assert.equal((await readdir(join(podDir('g1'), 'containers/main'))).length, 2);
    const logs = join(lab.dir, 'logs/ns_pod-g1_g1/main');
    assert.ok(await stat(logs));
    await lab.materials.sweepLogs(new Set(['g1']));
    assert.ok(await stat(logs));
    await lab.materials.removeLogs({ namespace: 'ns', name: 'pod-g1', uid: 'g1' });
    await assert.rejects(stat(logs), { code: 'ENOENT' });
  });
});
