import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { hostExec } from '../../src/host/index.ts';
import type { Volume } from '../../src/kube/index.ts';
import { until } from './cri-support.ts';
import { createPodLab, type PodLab, podLabMissing } from './pod-lab.ts';

const skip = await podLabMissing({ network: false });
if (skip) console.log(`skipped: ${skip}`);

const mounted = (...paths: (string | [string, object])[]) =>
  paths.map((path) => {
    const [mountPath, more] = typeof path === 'string' ? [path, {}] : path;
    return { name: mountPath.slice(1).split('/')[0] as string, mountPath, ...more };
  });

/** Volumes as containers see them (upstream test/e2e/common/storage, test/e2e/storage/{subpath,empty_dir_wrapper}.go). */
describe('volumes in running pods', { skip: skip ?? false, timeout: 240_000 }, () => {
  let lab: PodLab;
  let host: string;
  const supports = { recursiveReadOnly: false };
  const outdated: string[] = [];
  before(async () => {
    lab = await createPodLab('vol', {
      materials: { runtimeSupports: supports, volumeOutdated: (_pod, { message }) => void outdated.push(message) },
    });
    const status = await lab.cri.runtime.status();
    supports.recursiveReadOnly = status.runtimeHandlers.some((h) => h.features?.recursiveReadOnlyMounts === true);
    host = join(lab.kubeletDir, '..', 'host');
    await mkdir(host);
  });
  after(() => lab?.end());

  const put = (name: string, volumes: Volume[], volumeMounts: object[], more: Parameters<PodLab['put']>[1] = {}) =>
    lab.put(name, {
      ...more,
      container: { volumeMounts, ...more.container },
      spec: { volumes, ...more.spec },
    });
  const reads = (name: string, path: string, container?: string) => lab.sh(name, `busybox cat ${path}`, container);
  const modes = (name: string, ...paths: string[]) => lab.sh(name, `busybox stat -L -c '%a %u:%g' ${paths.join(' ')}`);
  const waiting = async (name: string) => {
    const message = await lab.event(name, 'Failed');
    return [lab.api.get(name)?.status?.containerStatuses?.[0]?.state?.waiting?.reason, message];
  };

  it('of files: items, modes, group and owner, read by a user that is not root', async () => {
    lab.objects.put('ConfigMap', 'default', 'cm', { a: 'one', b: 'two' });
    lab.objects.put('Secret', 'default', 'sec', { password: 'hunter2' });
    const items = [{ key: 'a', path: 'deep/file', mode: 0o400 }];
    const fields = [
      { path: 'name', fieldRef: { fieldPath: 'metadata.name' } },
      { path: 'cpu', resourceFieldRef: { containerName: 'main', resource: 'limits.cpu' } },
      { path: 'mem', resourceFieldRef: { containerName: 'main', resource: 'requests.memory', divisor: '1Mi' } },
    ];
    const token = { serviceAccountToken: { path: 'token', expirationSeconds: 600 } };
    const volumes: Volume[] = [
      { name: 'cm', configMap: { name: 'cm' } },
      { name: 'items', configMap: { name: 'cm', items } },
      { name: 'sec', secret: { secretName: 'sec', defaultMode: 0o440 } },
      { name: 'down', downwardAPI: { items: fields } },
      {
        name: 'all',
        projected: { sources: [token, { configMap: { name: 'cm', items } }, { secret: { name: 'sec' } }] },
      },
    ];
    const resources = { requests: { memory: '8Mi' } };
    const mounts = mounted('/cm', '/items', '/sec', '/down', '/all');
    const security = { runAsUser: 1000, fsGroup: 2000 };
    put('files', volumes, mounts, { podSecurity: security, container: { resources, volumeMounts: mounts } });
    put('files-root', volumes, mounts);
    for (const name of ['files', 'files-root']) await lab.ready(name);
    assert.equal(await reads('files', '/cm/a /items/deep/file /sec/password'), 'oneonehunter2');
    assert.match(await reads('files', '/all/token /all/deep/file'), /^token-\d+one$/);
    assert.equal(await reads('files', '/down/name /down/cpu /down/mem'), 'files28', 'the node has two cores');
    assert.deepEqual((await modes('files', '/cm/a', '/items/deep/file', '/sec/password', '/all/token')).split('\n'), [
      '644 0:2000',
      '440 0:2000',
      '440 0:2000',
      '640 1000:2000',
    ]);
    const root = (await modes('files-root', '/cm/a', '/items/deep/file', '/sec/password', '/all/token', '/cm')).split(
      '\n',
    );
    assert.deepEqual(root, ['644 0:0', '400 0:0', '440 0:0', '644 0:0', '777 0:0']);
    assert.match(await lab.sh('files-root', 'echo x > /cm/new'), /[Rr]ead-only file system/);
    await lab.remove('files', 'files-root');
  });

  it('a ConfigMap change is in the file of a running pod within two seconds; deleted, it stays with an event', async () => {
    lab.objects.put('ConfigMap', 'default', 'live', { v: '0' });
    lab.objects.put('ConfigMap', 'default', 'fixed', { v: '0' }, { immutable: true });
    const volumes: Volume[] = ['live', 'fixed'].map((name) => ({ name, configMap: { name } }));
    volumes.push({ name: 'opt', configMap: { name: 'later', optional: true } });
    put('live', volumes, mounted('/live', '/fixed', '/opt'));
    await lab.ready('live');
    const times: number[] = [];
    for (let i = 1; i <= 5; i++) {
      const began = performance.now();
      lab.objects.put('ConfigMap', 'default', 'live', { v: String(i) });
      await until(async () => (await reads('live', '/live/v')) === String(i), 5_000);
      times.push(Math.round(performance.now() - began));
    }
    console.log(`a changed ConfigMap was read in a running container after ${times.join(', ')} ms (exec included)`);
    assert.ok(Math.max(...times) < 2_000);
    assert.ok(![...lab.objects.watchers].some((w) => w.name === 'fixed'), 'immutable ones are not watched');
    lab.objects.put('ConfigMap', 'default', 'later', { k: 'there' });
    await until(async () => (await reads('live', '/opt/k')) === 'there', 5_000);
    lab.objects.remove('ConfigMap', 'default', 'later');
    await until(async () => (await lab.sh('live', 'busybox ls /opt')) === '', 5_000);
    lab.objects.remove('ConfigMap', 'default', 'live');
    await until(() => outdated.length > 0, 5_000);
    assert.deepEqual(outdated, ['MountVolume.SetUp failed for volume "live" : configmap "live" not found']);
    assert.equal(await reads('live', '/live/v'), '5', 'a running pod keeps what it has');
    lab.objects.put('ConfigMap', 'default', 'live', { v: 'again' });
    await until(async () => (await reads('live', '/live/v')) === 'again', 5_000);
    await lab.remove('live');
  });

  it('inside of volumes, and those nobody mounts are not waited for', async () => {
    lab.objects.put('ConfigMap', 'default', 'outer', { file: 'out', 'dir-less': 'x' });
    lab.objects.put('Secret', 'default', 'inner', { file: 'in' });
    const volumes: Volume[] = [
      { name: 'outer', configMap: { name: 'outer', items: [{ key: 'file', path: 'sub/file' }] } },
      { name: 'inner', secret: { secretName: 'inner' } },
      { name: 'unused', secret: { secretName: 'does-not-exist' } },
    ];
    const inner = (mountPath: string) => ({ name: 'inner', mountPath });
    put('nested', volumes, [inner('/outer/a/b'), { name: 'outer', mountPath: '/outer' }, inner('/outer/sub/deep')]);
    await lab.ready('nested');
    assert.equal(await reads('nested', '/outer/sub/file /outer/a/b/file /outer/sub/deep/file'), 'outinin');
    lab.objects.put('ConfigMap', 'default', 'outer', { file: 'new' });
    await until(async () => (await reads('nested', '/outer/sub/file')) === 'new', 5_000);
    assert.equal(await reads('nested', '/outer/a/b/file'), 'in');
    await lab.remove('nested');
  });

  it('by subPath: folders, files and expressions, through restarts of the container', async () => {
    lab.objects.put('ConfigMap', 'default', 'sub', { 'app.conf': 'x=1' });
    const volumes: Volume[] = [
      { name: 'data', emptyDir: {} },
      { name: 'conf', configMap: { name: 'sub' } },
    ];
    const data = (mountPath: string, more: object) => ({ name: 'data', mountPath, ...more });
    const mounts = [
      data('/all', {}),
      data('/made', { subPath: 'made/deep' }),
      data('/one.txt', { subPath: 'one.txt', readOnly: true }),
      data('/mine', { subPathExpr: 'pods/$(POD)' }),
      { name: 'conf', mountPath: '/etc/app.conf', subPath: 'app.conf' },
    ];
    const init = [{ name: 'init', image: 'kat-number:1', command: ['sh', '-c', 'echo from-init > /d/one.txt'] }];
    const env = [{ name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }];
    put('sub', volumes, mounts, {
      container: { env, volumeMounts: mounts },
      spec: { volumes, initContainers: init.map((c) => ({ ...c, volumeMounts: [data('/d', {})] })) },
      script: 'trap "exit 1" TERM; echo run >> /made/runs; while :; do busybox sleep 1; done',
    });
    await lab.ready('sub');
    assert.equal(await reads('sub', '/one.txt /etc/app.conf'), 'from-init\nx=1');
    await lab.sh('sub', 'echo hello > /mine/file; echo changed > /all/one.txt');
    assert.equal(await reads('sub', '/all/pods/sub/file /one.txt'), 'hello\nchanged');
    assert.match(await lab.sh('sub', 'echo x > /one.txt'), /[Rr]ead-only file system/);
    await lab.sh('sub', 'kill 1');
    await until(() => (lab.api.get('sub')?.status?.containerStatuses?.[0]?.restartCount ?? 0) === 1, 20_000);
    await lab.ready('sub');
    assert.equal(await reads('sub', '/made/runs /mine/file'), 'run\nrun\nhello');
    await lab.remove('sub');
    assert.deepEqual(await mountsBelow(lab.kubeletDir), []);
  });

  it('by a subPath that leads out or has no value: a waiting reason, and it starts when that is mended', async () => {
    const volumes: Volume[] = [{ name: 'data', emptyDir: {} }];
    const data = (more: object) => [{ name: 'data', mountPath: '/x', ...more }];
    const linking = {
      spec: {
        volumes,
        initContainers: [
          {
            name: 'init',
            image: 'kat-number:1',
            command: ['sh', '-c', 'busybox ln -s /etc /d/out; busybox ln -s /etc/passwd /d/file'],
            volumeMounts: [{ name: 'data', mountPath: '/d' }],
          },
        ],
      },
    };
    put('out-folder', volumes, data({ subPath: 'out' }), linking);
    put('out-file', volumes, data({ subPath: 'file' }), linking);
    put('out-new', volumes, data({ subPath: 'out/new' }), linking);
    put('back', volumes, data({ subPath: 'a/../../b' }));
    const annotated = (value: string) => ({
      annotations: { where: value },
      container: {
        env: [{ name: 'WHERE', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['where']" } } }],
        volumeMounts: data({ subPathExpr: '$(WHERE)' }),
      },
    });
    put('abs', volumes, [], annotated('/etc'));
    const pod = put('late', volumes, [], annotated(''));
    const prepare = 'Error: failed to prepare subPath for volumeMount "data" of container "main"';
    const expected: Record<string, string> = {
      'out-folder': prepare,
      'out-file': prepare,
      'out-new': 'Error: failed to create subPath directory for volumeMount "data" of container "main"',
      back: "Error: unable to provision SubPath `a/../../b`: must not contain '..'",
      abs: 'Error: error SubPath `/etc` must not be an absolute path',
      late: 'Error: missing value for "WHERE"',
    };
    for (const [name, message] of Object.entries(expected))
      assert.deepEqual(await waiting(name), ['CreateContainerConfigError', message], name);
    await assert.rejects(stat('/etc/new'), { code: 'ENOENT' });
    const now = lab.api.get('late') ?? pod;
    lab.api.put({ ...now, metadata: { ...now.metadata, annotations: { where: 'ok' } } });
    await lab.ready('late');
    await lab.remove(...Object.keys(expected));
  });

  it('of empty folders: shared, bound in memory, kept over a restart of the container, gone with the pod', async () => {
    const volumes: Volume[] = [
      { name: 'disk', emptyDir: {} },
      { name: 'mem', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'group', emptyDir: { medium: 'Memory' } },
    ];
    const mounts = mounted('/disk', '/mem', '/group');
    const main = { name: 'other', image: 'kat-number:1', command: ['sh', '-c', 'busybox sleep 100000'] };
    const pod = put('empty', volumes, mounts, { podSecurity: { fsGroup: 123 } });
    pod.spec.containers.push({ ...main, volumeMounts: mounts });
    lab.api.put(pod);
    await lab.ready('empty');
    assert.match(
      await lab.sh('empty', 'echo hi > /disk/f && echo hi > /mem/f && busybox mount'),
      / \/mem type tmpfs .*size=1024k/,
    );
    assert.equal(await reads('empty', '/disk/f /mem/f', 'other'), 'hi\nhi');
    assert.match(await lab.sh('empty', 'busybox dd if=/dev/zero of=/mem/big bs=1M count=2'), /No space left/);
    assert.equal(await modes('empty', '/disk', '/mem', '/disk/f'), '2777 0:123\n3777 0:123\n644 0:123');
    assert.equal(await lab.sh('empty', 'echo x > /disk/user && busybox stat -c %u:%g /disk/user', 'other'), '1000:123');
    await lab.remove('empty');
    assert.ok(!(await readdir(join(lab.kubeletDir, 'pods'))).includes(pod.metadata.uid as string));
    assert.deepEqual(await mountsBelow(lab.kubeletDir), []);
  });

  it('of the host: of each kind, or an event that says what it is not', async () => {
    await mkdir(join(host, 'dir'));
    await writeFile(join(host, 'file'), 'text');
    const server = createServer().listen(join(host, 'sock'));
    const kinds: Record<string, [string, string]> = {
      dir: ['dir', 'Directory'],
      newdir: ['new/dir', 'DirectoryOrCreate'],
      file: ['file', 'File'],
      newfile: ['newfile', 'FileOrCreate'],
      sock: ['sock', 'Socket'],
      any: ['any/thing', ''],
    };
    const volumes: Volume[] = Object.entries(kinds).map(([name, [path, type]]) => ({
      name,
      hostPath: { path: join(host, path), type },
    }));
    volumes.push({ name: 'null', hostPath: { path: '/dev/null', type: 'CharDevice' } });
    put('host', volumes, mounted(...volumes.map(({ name }) => `/${name}`)));
    const wrong: [string, string, string][] = [
      ['dir', 'File', 'a file'],
      ['dir', 'FileOrCreate', 'a file'],
      ['file', 'Directory', 'a directory'],
      ['file', 'Socket', 'a socket file'],
      ['sock', 'CharDevice', 'a character device'],
      ['none', 'BlockDevice', 'a block device'],
    ];
    for (const [i, [path, type]] of wrong.entries())
      put(`wrong-${i}`, [{ name: 'v', hostPath: { path: join(host, path), type } }], mounted('/v'));
    await lab.ready('host');
    assert.equal(
      await lab.sh(
        'host',
        'test -d /dir -a -d /newdir -a -f /file -a -f /newfile -a -S /sock -a -c /null -a -d /any && echo ok',
      ),
      'ok',
    );
    for (const [i, [path, , noun]] of wrong.entries())
      assert.equal(
        await lab.event(`wrong-${i}`, 'FailedMount'),
        `MountVolume.SetUp failed for volume "v" : hostPath type check failed: ${join(host, path)} is not ${noun}`,
      );
    await lab.remove('host', ...wrong.map((_, i) => `wrong-${i}`));
    assert.equal(await readFile(join(host, 'file'), 'utf8'), 'text');
    server.close();
  });

  it('mounts go from and to containers as far as their propagation says', async () => {
    const volumes: Volume[] = [{ name: 'v', emptyDir: {} }];
    const of = (mountPropagation: string) => mounted(['/v', { mountPropagation }]);
    const pod = put('prop', volumes, of('Bidirectional'), { security: { privileged: true } });
    const image = 'kat-accounts:1';
    const command = ['sh', '-c', 'busybox sleep 100000'];
    pod.spec.containers.push({ name: 'sees', image, command, volumeMounts: of('HostToContainer') } as never);
    pod.spec.containers.push({ name: 'none', image, command, volumeMounts: of('None') } as never);
    lab.api.put(pod);
    await lab.ready('prop');
    await lab.sh('prop', 'busybox mkdir /v/m && busybox mount -t tmpfs t /v/m && echo hi > /v/m/f');
    assert.equal(await reads('prop', '/v/m/f', 'sees'), 'hi');
    assert.equal(await lab.sh('prop', 'busybox ls /v/m', 'none'), '');
    await lab.remove('prop');
    assert.deepEqual(await mountsBelow(lab.kubeletDir), [], 'mounts that containers left are gone too');
  });

  it('read-only is read-only for what is mounted below, too, where asked for', async (t) => {
    const dir = join(host, 'rro');
    await mkdir(join(dir, 'sub'), { recursive: true });
    await hostExec.run(['mount', '-t', 'tmpfs', 'tmpfs', join(dir, 'sub')]);
    try {
      const volumes: Volume[] = [{ name: 'v', hostPath: { path: dir } }];
      const of = (recursiveReadOnly: string, more = {}) =>
        mounted(['/v', { readOnly: true, recursiveReadOnly, ...more }]);
      put('ro', volumes, of('Disabled'));
      put('possible', volumes, of('IfPossible'));
      put('enabled', volumes, of('Enabled'));
      put('writable', volumes, of('Enabled', { readOnly: false }));
      assert.equal(
        (await waiting('writable'))[1],
        'Error: failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode, but it is not read-only',
      );
      await lab.ready('ro');
      assert.equal(await lab.sh('ro', 'echo x > /v/sub/a && echo written'), 'written');
      await lab.ready('possible');
      if (!supports.recursiveReadOnly) {
        assert.match((await waiting('enabled'))[1] ?? '', /it is not supported by the runtime$/);
        t.diagnostic('the runtime here has no recursive read-only mounts');
      } else {
        await lab.ready('enabled');
        for (const name of ['possible', 'enabled'])
          assert.match(await lab.sh(name, 'echo x > /v/sub/b'), /[Rr]ead-only file system/);
      }
      await lab.remove('ro', 'possible', 'enabled', 'writable');
    } finally {
      await hostExec.run(['umount', join(dir, 'sub')]);
    }
  });

  it('hostile and huge input fails its own pod only, with a reason', async () => {
    const big = 'x'.repeat(2 ** 20 - 1000);
    const long = `n${'a'.repeat(61)}z`;
    const key = `k${'.b'.repeat(126)}`;
    lab.objects.put('ConfigMap', 'default', 'big', { big });
    lab.objects.put('ConfigMap', 'default', 'l'.repeat(253), { [key]: 'long' });
    const volumes: Volume[] = [
      { name: 'big', configMap: { name: 'big' } },
      { name: long, configMap: { name: 'l'.repeat(253) } },
      { name: 'down', downwardAPI: { items: [{ path: 'all', fieldRef: { fieldPath: 'metadata.annotations' } }] } },
    ];
    const env = Array.from({ length: 5_000 }, (_, i) => ({
      name: `VARIABLE_${i}`,
      value: `$(VARIABLE_${i + 1}) ${i}`,
    }));
    const annotations = { 'x/quote"\\': 'a"b\\c\n\u0000\ud83d\ude00', big: 'y'.repeat(200_000), '': '' };
    put('huge', volumes, [...mounted('/big', '/down'), { name: long, mountPath: '/long' }], {
      annotations,
      container: { env, volumeMounts: [...mounted('/big', '/down'), { name: long, mountPath: '/long' }] },
    });
    const item = (path: string) => ({ key: 'big', path });
    put('dots', [{ name: 'v', configMap: { name: 'big', items: [item('../../etc/x')] } }], mounted('/v'));
    put('absurd', [{ name: 'v', emptyDir: { medium: 'Memory', sizeLimit: '1e400' } }], mounted('/v'));
    put('backwards', [{ name: 'v', hostPath: { path: `${host}/../../etc` } }], mounted('/v'));
    put('nothing', [{ name: 'v' } as Volume], mounted('/v'));
    put('neighbour', [], []);
    await lab.ready('neighbour');
    const prefix = 'MountVolume.SetUp failed for volume "v" : ';
    assert.equal(await lab.event('dots', 'FailedMount'), `${prefix}invalid path: must not contain '..': ../../etc/x`);
    assert.match(await lab.event('absurd', 'FailedMount'), /: "1e400" is out of range$/);
    assert.equal(
      await lab.event('backwards', 'FailedMount'),
      `${prefix}invalid HostPath \`${host}/../../etc\`: must not contain '..'`,
    );
    assert.match(await lab.event('nothing', 'FailedMount'), /SetUp failed for volume "v"/);
    await lab.ready('huge');
    assert.equal(await lab.sh('huge', 'busybox wc -c < /big/big'), String(big.length));
    assert.equal(await reads('huge', `/long/${key}`), 'long');
    assert.equal(await lab.sh('huge', 'busybox env | busybox grep -c ^VARIABLE_'), '5000');
    assert.match(await lab.sh('huge', 'busybox head -c 60 /down/all'), /^=""\nbig="yyy/);
    await lab.remove('huge', 'dots', 'absurd', 'backwards', 'nothing', 'neighbour');
  });
});

/** Mounts of pods: all but the folder itself and the shared memory of its pods. */
async function mountsBelow(kubeletDir: string): Promise<string[]> {
  const points = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '');
  return points.filter((point) => point.startsWith(`${kubeletDir}/pods/`));
}
