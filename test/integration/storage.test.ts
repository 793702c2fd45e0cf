import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import { type Clock, systemClock } from '../../src/core/index.ts';
import type { Pod, Volume } from '../../src/kube/index.ts';
import type { PodVolumes } from '../../src/kubelet/index.ts';
import { parseMountPoints } from '../../src/kubelet/volumes/mounter.ts';
import { type CsiDriver, createCsiDriver } from '../fakes/csi-driver.ts';
import { FakeStorageApi } from '../fakes/storage-api.ts';
import { createVolumesLab, signal, type VolumesLab, volumePod } from './volumes-lab.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root for mounts';

async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`not so in time: ${what}`);
    await systemClock.sleep(20);
  }
}

const claimVolume = (claimName: string, readOnly = false): Volume => ({
  name: 'data',
  persistentVolumeClaim: { claimName, readOnly },
});

/** A pod whose one container mounts everything, or takes `device` as a device. */
function podWith(uid: string, volumes: Volume[], spec: Partial<Pod['spec']> = {}, device?: string): Pod {
  const mounts = volumes.filter((v) => v.name !== device).map(({ name }) => ({ name, mountPath: `/${name}` }));
  const devices = device === undefined ? {} : { volumeDevices: [{ name: device, devicePath: '/dev/xvda' }] };
  return volumePod(uid, volumes, {
    containers: [{ name: 'main', image: 'busybox', volumeMounts: mounts, ...devices }],
    ...spec,
  });
}

describe('storage', { skip, timeout: 180_000 }, () => {
  let lab: VolumesLab;
  let api: FakeStorageApi;
  const drivers: CsiDriver[] = [];
  const root = () => join(lab.dir, 'kubelet');
  const kubelet = (...parts: string[]) => join(root(), ...parts);
  const csi = (...parts: string[]) => kubelet('plugins/kubernetes.io/csi', ...parts);
  const text = (path: string) => readFile(path, 'utf8');
  const mounts = async () => parseMountPoints(await text('/proc/self/mountinfo')).filter((m) => m.startsWith(root()));
  const up = async (pod: Pod): Promise<PodVolumes> => {
    await lab.materials.preparePod(pod, signal);
    const result = await lab.materials.mountVolumes(pod, signal);
    assert.ok(result.ready, JSON.stringify(result));
    return result.volumes;
  };
  const fails = async (pod: Pod): Promise<string> => {
    await lab.materials.preparePod(pod, signal);
    const result = await lab.materials.mountVolumes(pod, signal);
    assert.equal(result.ready, false, 'was set up');
    return result.ready ? '' : result.failures.map((f) => `${f.reason ?? 'FailedMount'} ${f.message}`).join('\n');
  };
  const gone = async (uid: string) => {
    await lab.materials.release(uid, signal);
    await assert.rejects(stat(kubelet('pods', uid)), { code: 'ENOENT' });
  };
  const driver = async (name: string, options: Partial<Parameters<typeof createCsiDriver>[0]> = {}) => {
    const made = createCsiDriver({ name, dir: join(lab.dir, name), registry: kubelet('plugins_registry'), ...options });
    drivers.push(made);
    await made.start();
    await until(`${name} is registered`, () => made.notices.length > 0);
    return made;
  };
  const csiClaim = (name: string, driverName: string, source = {}, spec = {}) =>
    api.claim(name, `pv-${name}`, {
      spec: { csi: { driver: driverName, volumeHandle: `vol-${name}`, fsType: 'ext4', ...source }, ...spec },
    });

  before(async () => {
    api = new FakeStorageApi();
    lab = await createVolumesLab({ storage: api.node });
    api.inUse = () => lab.materials.volumesInUse();
    await lab.materials.start(signal);
  });
  after(async () => {
    for (const uid of await lab.materials.orphans(new Set())) await lab.materials.release(uid, signal);
    // Their sockets would keep the folder they lie in mounted.
    for (const made of drivers) made.kill();
    await lab.end();
  });

  it('make a CSINode for a node without drivers', async () => {
    await until('it is there', () => api.objects.has('/apis/storage.k8s.io/v1/csinodes/n1'));
    const made = api.objects.get('/apis/storage.k8s.io/v1/csinodes/n1');
    assert.deepEqual(made?.spec, { drivers: [] });
    assert.deepEqual((made?.metadata as { ownerReferences: unknown }).ownerReferences, [
      { apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'node-uid' },
    ]);
  });

  it('say of a claim that can not be used what upstream says', async () => {
    const wrong = async (name: string, why: string, pod = podWith(`x-${name}`, [claimVolume(name)])) => {
      const lists = 'unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]';
      assert.equal(await fails(pod), `FailedMount Unable to attach or mount volumes: ${lists}: ${why}`);
      await gone(pod.metadata.uid as string);
    };
    const path = (name: string) => `/api/v1/namespaces/ns/persistentvolumeclaims/${name}`;
    await wrong(
      'no',
      'error processing PVC ns/no: failed to fetch PVC from API server: persistentvolumeclaims "no" not found',
    );
    api.claim('pending', 'pv-x', { claim: { status: { phase: 'Pending' } } });
    await wrong('pending', 'error processing PVC ns/pending: PVC is not bound');
    api.claim('leaving', 'pv-x');
    api.update(path('leaving'), (o) =>
      Object.assign(o.metadata as object, { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    );
    await wrong('leaving', 'error processing PVC ns/leaving: PVC is being deleted');
    api.claim('nopv', 'pv-nopv');
    api.objects.delete('/api/v1/persistentvolumes/pv-nopv');
    await wrong(
      'nopv',
      'error processing PVC ns/nopv: failed to fetch PV pv-nopv from API server: persistentvolumes "pv-nopv" not found',
    );
    api.claim('other', 'pv-other', { spec: { claimRef: { uid: 'someone' } } });
    await wrong(
      'other',
      'error processing PVC ns/other: found PV object pv-other but its pv.Spec.ClaimRef.UID someone does not point to claim.UID claim-other',
    );
    api.claim('dev', 'pv-dev', { spec: { volumeMode: 'Block', local: { path: '/dev/null' } } });
    await wrong('dev', 'volume data has volumeMode Block, but is specified in volumeMounts');
    api.claim('pod-eph-data', 'pv-eph', { spec: { local: { path: '/tmp' } } });
    await wrong(
      'pod-eph-data',
      'PVC ns/pod-eph-data was not created for pod ns/pod-eph (pod is not owner)',
      podWith('eph', [{ name: 'data', ephemeral: {} }]),
    );
  });

  it('mount a local volume where it may be used, give it to the group, leave it behind', async () => {
    const disk = join(lab.dir, 'disk');
    await mkdir(disk);
    await writeFile(join(disk, 'file'), 'kept', { mode: 0o600 });
    const hostname = { key: 'kubernetes.io/os', operator: 'In', values: ['linux'] };
    const affinity = (values: string[]) => ({
      required: { nodeSelectorTerms: [{ matchExpressions: [{ ...hostname, values }] }] },
    });
    api.claim('local', 'pv-local', { spec: { local: { path: disk }, nodeAffinity: affinity(['linux']) } });
    const pod = podWith('l1', [claimVolume('local')], { securityContext: { fsGroup: 4321 } });
    const path = (await up(pod)).get('data')?.hostPath as string;
    assert.equal(path, kubelet('pods/l1/volumes/kubernetes.io~local-volume/pv-local'));
    assert.equal(await text(join(path, 'file')), 'kept');
    const file = await stat(join(path, 'file'));
    assert.deepEqual([file.gid, file.mode & 0o777], [4321, 0o660]);
    assert.equal((await stat(path)).mode & 0o7777, 0o2775 | 0o770);
    assert.ok((await mounts()).includes(path));
    // A new agent finds it mounted; without a server, too.
    api.away = true;
    await lab.restart();
    assert.equal((await up(pod)).get('data')?.hostPath, path);
    assert.equal((await mounts()).filter((m) => m === path).length, 1, 'mounted once');
    api.away = false;
    await gone('l1');
    assert.equal(await text(join(disk, 'file')), 'kept');
    api.claim('far', 'pv-far', { spec: { local: { path: disk }, nodeAffinity: affinity(['plan9']) } });
    assert.equal(
      await fails(podWith('l2', [claimVolume('far')])),
      'FailedMount MountVolume.NodeAffinity check failed for volume "pv-far" : no matching NodeSelectorTerms',
    );
    api.claim('nodir', 'pv-nodir', { spec: { local: { path: join(lab.dir, 'nothing') } } });
    assert.equal(
      await fails(podWith('l3', [claimVolume('nodir')])),
      `FailedMount MountVolume.NewMounter initialization failed for volume "pv-nodir" : path "${lab.dir}/nothing" does not exist`,
    );
    await gone('l2');
    await gone('l3');
  });

  it('give what a volume holds to the group, links and what they lead to aside, again only if its root differs', async () => {
    const disk = join(lab.dir, 'owned');
    const outside = join(lab.dir, 'outside');
    await mkdir(join(disk, 'deep/er'), { recursive: true, mode: 0o700 });
    await writeFile(outside, '', { mode: 0o600 });
    await writeFile(join(disk, 'deep/er/program'), '', { mode: 0o700 });
    await symlink(outside, join(disk, 'deep/link'));
    api.claim('owned', 'pv-owned', { spec: { local: { path: disk } } });
    const securityContext = { fsGroup: 31, fsGroupChangePolicy: 'OnRootMismatch' };
    await up(podWith('ow1', [claimVolume('owned')], { securityContext }));
    const of = async (path: string) => {
      const { gid, mode } = await lstat(join(disk, path));
      return [gid, (mode & 0o7777).toString(8)];
    };
    assert.deepEqual(await of('deep/er'), [31, '2770']);
    assert.deepEqual(await of('deep/er/program'), [31, '760']);
    assert.equal((await of('deep/link'))[0], 31);
    const { gid, mode } = await stat(outside);
    assert.deepEqual([gid, mode & 0o777], [0, 0o600]);
    await gone('ow1');
    await writeFile(join(disk, 'deep/later'), '', { mode: 0o600 });
    await chown(join(disk, 'deep/later'), 0, 0);
    await up(podWith('ow2', [claimVolume('owned')], { securityContext }));
    assert.deepEqual(await of('deep/later'), [0, '600']);
    await gone('ow2');
    await up(podWith('ow3', [claimVolume('owned')], { securityContext: { fsGroup: 31 } }));
    assert.deepEqual(await of('deep/later'), [31, '660']);
    await gone('ow3');
  });

  it('keep what a read-only claim holds from being written', async () => {
    const disk = join(lab.dir, 'ro');
    await mkdir(disk);
    api.claim('ro', 'pv-ro', { spec: { local: { path: disk } } });
    const volume = (await up(podWith('ro1', [claimVolume('ro', true)]))).get('data');
    assert.equal(volume?.readOnly, true);
    await assert.rejects(writeFile(join(volume?.hostPath as string, 'x'), ''), { code: 'EROFS' });
    await gone('ro1');
  });

  it('use a hostPath volume in place and a volume made for the pod', async () => {
    const dir = join(lab.dir, 'made-by-claim');
    api.claim('pod-h1-data', 'pv-h', {
      spec: { hostPath: { path: dir, type: 'DirectoryOrCreate' } },
      claim: {
        metadata: { name: 'pod-h1-data', uid: 'claim-pod-h1-data', ownerReferences: [{ uid: 'h1', controller: true }] },
      },
    });
    const volumes = await up(podWith('h1', [{ name: 'data', ephemeral: {} }]));
    assert.equal(volumes.get('data')?.hostPath, dir);
    await gone('h1');
    assert.ok((await stat(dir)).isDirectory());
  });

  it('hand a local block device over as a device', async () => {
    const device = join(lab.dir, 'block');
    execFileSync('mknod', [device, 'b', '7', '201']);
    api.claim('raw', 'pv-raw', { spec: { volumeMode: 'Block', local: { path: device } } });
    const pod = podWith('d1', [claimVolume('raw')], {}, 'data');
    const volumes = await up(pod);
    const made = await lab.materials.container(
      { pod, container: pod.spec.containers[0] as never, restartCount: 0, podIps: [], volumes, image: { ref: 'x' } },
      signal,
    );
    const link = kubelet('pods/d1/volumeDevices/kubernetes.io~local-volume/pv-raw');
    assert.deepEqual(made.config.devices, [{ containerPath: '/dev/xvda', hostPath: link, permissions: 'mrw' }]);
    assert.equal(await readlink(link), device);
    await gone('d1');
    assert.ok((await lstat(device)).isBlockDevice());
    api.claim('notraw', 'pv-notraw', { spec: { volumeMode: 'Block', local: { path: lab.dir } } });
    assert.match(
      await fails(podWith('d2', [claimVolume('notraw')], {}, 'data')),
      /^FailedMapVolume MapVolume\.MapBlockVolume failed for volume "pv-notraw" : /,
    );
    await gone('d2');
  });

  it('make a file system on an empty local device, share it among pods, keep what it holds', async (t) => {
    const image = join(lab.dir, 'disk.img');
    await writeFile(image, '');
    await truncate(image, 32 * 2 ** 20);
    let device: string;
    try {
      device = execFileSync('losetup', ['--find', '--show', image], { encoding: 'utf8', stdio: 'pipe' }).trim();
    } catch {
      return t.skip('no loop device to be had');
    }
    try {
      api.claim('disk', 'pv-disk', { spec: { local: { path: device } } });
      const place = kubelet('plugins/kubernetes.io/local-volume/mounts/pv-disk');
      const one = (await up(podWith('f1', [claimVolume('disk')]))).get('data')?.hostPath as string;
      await writeFile(join(one, 'kept'), 'x');
      const two = (await up(podWith('f2', [claimVolume('disk')]))).get('data')?.hostPath as string;
      assert.equal(await text(join(two, 'kept')), 'x');
      assert.ok((await mounts()).includes(place));
      await gone('f1');
      assert.equal(await text(join(two, 'kept')), 'x');
      await gone('f2');
      assert.equal((await mounts()).includes(place), false);
      const again = (await up(podWith('f3', [claimVolume('disk')]))).get('data')?.hostPath as string;
      assert.equal(await text(join(again, 'kept')), 'x', 'never made anew');
      await gone('f3');
    } finally {
      execFileSync('losetup', ['--detach', device]);
    }
  });

  it('add the group of a volume to those of the containers', async () => {
    api.claim('gid', 'pv-gid', { spec: { local: { path: lab.dir } } });
    api.update('/api/v1/persistentvolumes/pv-gid', (pv) => {
      Object.assign(pv.metadata as object, { annotations: { 'pv.beta.kubernetes.io/gid': '5678' } });
    });
    const pod = podWith('gid1', [claimVolume('gid')], { securityContext: { supplementalGroups: [1] } });
    const volumes = await up(pod);
    const made = await lab.materials.container(
      { pod, container: pod.spec.containers[0] as never, restartCount: 0, podIps: [], volumes, image: { ref: 'x' } },
      signal,
    );
    assert.deepEqual(made.config.linux?.securityContext?.supplementalGroups, [1, 5678]);
    await gone('gid1');
  });

  it('mount nfs with the options and the words of upstream', async () => {
    const message = await fails(
      podWith('n1', [{ name: 'share', nfs: { server: '127.0.0.1', path: '/none', readOnly: true } }]),
    );
    assert.match(message, /^FailedMount MountVolume\.SetUp failed for volume "share" : mount failed: /);
    assert.match(message, /Mounting arguments: -t nfs -o ro 127\.0\.0\.1:\/none .*\/kubernetes\.io~nfs\/share$/);
    await gone('n1');
  });

  it('leave image volumes to the runtime', async () => {
    const image = { name: 'model', image: { reference: 'models:7' } } as Volume;
    const pod = podWith('im1', [image]);
    const [container] = pod.spec.containers;
    Object.assign(container?.volumeMounts?.[0] as object, { subPath: 'weights' });
    const made = await lab.materials.container(
      {
        pod,
        container: container as never,
        restartCount: 0,
        podIps: [],
        volumes: await up(pod),
        image: { ref: 'x', volumes: new Map([['model', 'sha256:abc']]) },
      },
      signal,
    );
    const { containerPath, hostPath, readonly, image: source, imageSubPath } = made.config.mounts?.[0] ?? {};
    assert.deepEqual(
      { containerPath, hostPath, readonly, source, imageSubPath },
      {
        containerPath: '/model',
        hostPath: '',
        readonly: true,
        source: { image: 'sha256:abc', userSpecifiedImage: 'models:7' },
        imageSubPath: 'weights',
      },
    );
    await gone('im1');
  });

  it('register a driver in CSINode and Node, and take it out again', async () => {
    const bare = await driver('bare.csi.test', {
      nodeId: 'id-1',
      topology: { 'topology.bare/zone': 'z1' },
      maxVolumes: 7,
    });
    assert.deepEqual(bare.notices, [{ registered: true, error: '' }]);
    const spec = () => api.objects.get('/apis/storage.k8s.io/v1/csinodes/n1')?.spec as { drivers: unknown[] };
    assert.deepEqual(spec().drivers, [
      { name: 'bare.csi.test', nodeID: 'id-1', topologyKeys: ['topology.bare/zone'], allocatable: { count: 7 } },
    ]);
    const { metadata } = api.objects.get('/api/v1/nodes/n1') as { metadata: { labels: object; annotations: object } };
    assert.deepEqual(metadata.labels, { 'topology.bare/zone': 'z1' });
    assert.deepEqual(metadata.annotations, { 'csi.volume.kubernetes.io/nodeid': '{"bare.csi.test":"id-1"}' });
    bare.kill();
    await until('it is taken out', () => spec().drivers.length === 0);
    const old = createCsiDriver({
      name: 'old.csi.test',
      dir: join(lab.dir, 'old'),
      registry: kubelet('plugins_registry'),
      versions: ['0.3.0'],
    });
    await old.start();
    await until('it is told', () => old.notices.length > 0);
    assert.equal(old.notices[0]?.registered, false);
    assert.match(old.notices[0]?.error ?? '', /none of the versions specified \["0\.3\.0"\] are supported/);
    old.kill();
  });

  it('stage once a node, publish once a pod, undo both, laid out as the original does', async () => {
    const stages = await driver('stage.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    api.driver('stage.csi.test', { attachRequired: false, podInfoOnMount: true, fsGroupPolicy: 'File' });
    lab.api.put('Secret', 'ns', 'stage-secret', { user: 'me' });
    csiClaim(
      's',
      'stage.csi.test',
      { volumeAttributes: { a: 'b' }, nodeStageSecretRef: { name: 'stage-secret', namespace: 'ns' } },
      { mountOptions: ['noatime'] },
    );
    const one = podWith('s1', [claimVolume('s')], { securityContext: { fsGroup: 777 } });
    const path = (await up(one)).get('data')?.hostPath as string;
    assert.equal(path, kubelet('pods/s1/volumes/kubernetes.io~csi/pv-s/mount'));
    const folder = csi(
      'stage.csi.test',
      '9c07a3f5bd7a0a1a7a1b8b1b0c6f5c3a'.slice(0, 0),
      (await readdir(csi('stage.csi.test')))[0] as string,
    );
    assert.match(folder, /\/[0-9a-f]{64}$/);
    assert.equal(await text(join(folder, 'vol_data.json')), '{"driverName":"stage.csi.test","volumeHandle":"vol-s"}\n');
    const data = JSON.parse(await text(join(path, '../vol_data.json')));
    assert.match(data.attachmentID, /^csi-[0-9a-f]{64}$/);
    delete data.attachmentID;
    assert.deepEqual(data, {
      driverName: 'stage.csi.test',
      nodeName: 'n1',
      specVolID: 'pv-s',
      volumeHandle: 'vol-s',
      volumeLifecycleMode: 'Persistent',
    });
    const [stage] = stages.calls.filter((c) => c.method === 'NodeStageVolume');
    assert.equal(stage?.request.stagingPath, join(folder, 'globalmount'));
    assert.deepEqual(stage?.request.secrets, { user: 'me' });
    assert.deepEqual(stage?.request.capability.mount, { fsType: 'ext4', mountFlags: ['noatime'], mountGroup: '' });
    assert.equal(stage?.request.capability.access.mode, 'SINGLE_NODE_WRITER');
    const [publish] = stages.calls.filter((c) => c.method === 'NodePublishVolume');
    assert.deepEqual(publish?.request.volumeContext, {
      a: 'b',
      'csi.storage.k8s.io/pod.name': 'pod-s1',
      'csi.storage.k8s.io/pod.namespace': 'ns',
      'csi.storage.k8s.io/pod.uid': 's1',
      'csi.storage.k8s.io/serviceAccount.name': 'default',
      'csi.storage.k8s.io/ephemeral': 'false',
    });
    assert.equal((await stat(path)).gid, 777);
    await writeFile(join(path, 'from-1'), 'x');
    const two = podWith('s2', [claimVolume('s')]);
    assert.deepEqual(await readdir((await up(two)).get('data')?.hostPath as string), ['from-1']);
    await gone('s1');
    assert.equal(stages.count('NodeUnstageVolume'), 0, 'somebody still uses it');
    assert.deepEqual(await readdir(kubelet('pods/s2/volumes/kubernetes.io~csi/pv-s/mount')), ['from-1']);
    await gone('s2');
    assert.equal(stages.count('NodeUnstageVolume'), 1);
    assert.deepEqual(
      (await mounts()).filter((m) => m.includes('csi')),
      [],
    );
    assert.deepEqual(await readdir(csi('stage.csi.test')), []);
    assert.equal(await text(join(stages.volume('vol-s'), 'from-1')), 'x');
  });

  it('tell what the driver answers, and wait for one that is not there', async () => {
    api.driver('late.csi.test', { attachRequired: false });
    csiClaim('late', 'late.csi.test');
    const pod = podWith('late', [claimVolume('late')]);
    assert.equal(
      await fails(pod),
      'FailedMount MountVolume.MountDevice failed for volume "pv-late" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name late.csi.test not found in the list of registered CSI drivers',
    );
    const told: string[] = [];
    lab.materials.onVolumesMayBeReady((uid) => void told.push(uid));
    const late = await driver('late.csi.test');
    assert.deepEqual(told, ['late']);
    late.fail('NodePublishVolume', status.INVALID_ARGUMENT, 'no such disk');
    assert.equal(
      await fails(pod),
      'FailedMount MountVolume.SetUp failed for volume "pv-late" : rpc error: code = InvalidArgument desc = no such disk',
    );
    await assert.rejects(stat(kubelet('pods/late/volumes/kubernetes.io~csi/pv-late')), { code: 'ENOENT' });
    late.heal();
    await up(pod);
    await gone('late');
  });

  it('keep a pod whose driver is away at its end, and nobody else', async () => {
    const away = await driver('away.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    api.driver('away.csi.test', { attachRequired: false });
    csiClaim('away', 'away.csi.test');
    const path = (await up(podWith('a1', [claimVolume('away'), { name: 'e', emptyDir: {} }]))).get('data')
      ?.hostPath as string;
    await writeFile(join(path, 'precious'), 'x');
    away.kill();
    await until('the driver is forgotten', async () => {
      const why = await lab.materials.release('a1', signal).then(
        () => '',
        (error: Error) => error.message,
      );
      assert.notEqual(why, '', 'was torn down without its driver');
      return /UnmountVolume\.TearDown failed for volume "pv-away" : .*driver name away\.csi\.test not found/.test(why);
    });
    assert.equal(await text(join(path, 'precious')), 'x', 'nothing of it is touched');
    await up(podWith('a2', [{ name: 'e', emptyDir: {} }]));
    await gone('a2');
    const told: string[] = [];
    lab.materials.onVolumesMayBeReady((uid) => void told.push(uid));
    await away.start();
    await until('the driver is back', () => away.notices.length > 1);
    assert.deepEqual(told, ['a1'], 'no need to sit out the pause');
    await gone('a1');
    assert.equal(await text(join(away.volume('vol-away'), 'precious')), 'x');
    assert.deepEqual(await readdir(csi('away.csi.test')), []);
  });

  it('go on after an agent was killed: with what is mounted, and without what is not wanted any more', async () => {
    const killed = await driver('kill.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    api.driver('kill.csi.test', { attachRequired: false });
    csiClaim('k1', 'kill.csi.test');
    csiClaim('k2', 'kill.csi.test');
    const running = podWith('k1', [claimVolume('k1')]);
    const path = (await up(running)).get('data')?.hostPath as string;
    // The other is killed between stage and publish, and its pod is deleted meanwhile.
    const go = killed.hold('NodePublishVolume');
    const half = lab.materials.mountVolumes(podWith('k2', [claimVolume('k2')]), signal).catch(() => {});
    await until('it is about to be published', () => killed.count('NodePublishVolume') === 2);
    const published = killed.count('NodePublishVolume');
    killed.kill();
    go();
    await half;
    await lab.restart();
    // The driver is down: what stands is used all the same.
    assert.equal((await up(running)).get('data')?.hostPath, path);
    assert.equal(killed.count('NodePublishVolume'), published);
    assert.equal((await readdir(csi('kill.csi.test'))).length, 2);
    await killed.start();
    await until('registered with the new agent', () => killed.notices.length > 1);
    for (const uid of await lab.materials.orphans(new Set(['k1']))) await lab.materials.release(uid, signal);
    await lab.materials.sweepStaged();
    assert.equal((await readdir(csi('kill.csi.test'))).length, 1, 'only what is used stays staged');
    assert.deepEqual(
      (await mounts()).filter((m) => m.includes('k2')),
      [],
    );
    await gone('k1');
    assert.deepEqual(await readdir(csi('kill.csi.test')), []);
  });

  it('say that a volume is in use, wait until it is attached, and say when it is not needed any more', async () => {
    const attaches = await driver('attach.csi.test');
    csiClaim('at', 'attach.csi.test');
    const name = 'kubernetes.io/csi/attach.csi.test^vol-at';
    const pod = podWith('at1', [claimVolume('at')]);
    await lab.materials.preparePod(pod, signal);
    const mounting = lab.materials.mountVolumes(pod, signal);
    await until('the node says it uses it', () => lab.materials.volumesInUse()?.includes(name) === true);
    assert.equal(attaches.count('NodePublishVolume'), 0);
    const inUse = (api.objects.get('/api/v1/nodes/n1')?.status as { volumesInUse: string[] }).volumesInUse;
    assert.deepEqual(inUse, [name]);
    const { attachmentName } = await import('../../src/kubelet/csi/paths.ts');
    const id = attachmentName('vol-at', 'attach.csi.test', 'n1');
    api.objects.set(`/apis/storage.k8s.io/v1/volumeattachments/${id}`, {
      metadata: { name: id },
      status: { attached: true, attachmentMetadata: { devicePath: '/dev/x' } },
    });
    api.update('/api/v1/nodes/n1', (node) => {
      node.status = { ...(node.status as object), volumesAttached: [{ name, devicePath: '' }] };
    });
    assert.equal((await mounting).ready, true);
    const [publish] = attaches.calls.filter((c) => c.method === 'NodePublishVolume');
    assert.deepEqual(publish?.request.publishContext, { devicePath: '/dev/x' });
    await gone('at1');
    assert.deepEqual(lab.materials.volumesInUse(), []);
  });

  it('let go of a volume with a pod that waited for it and never got it', async () => {
    const refuses = await driver('refuse.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    const { attachmentName } = await import('../../src/kubelet/csi/paths.ts');
    const attach = (handle: string) => {
      const id = attachmentName(handle, 'refuse.csi.test', 'n1');
      api.objects.set(`/apis/storage.k8s.io/v1/volumeattachments/${id}`, {
        metadata: { name: id },
        status: { attached: true },
      });
      const name = `kubernetes.io/csi/refuse.csi.test^${handle}`;
      api.update('/api/v1/nodes/n1', (node) => {
        node.status = { ...(node.status as object), volumesAttached: [{ name, devicePath: '' }] };
      });
    };
    const inUse = () => (lab.materials.volumesInUse() ?? []).filter((name) => name.includes('refuse.csi.test'));
    for (const device of [undefined, 'data']) {
      const name = `re${device ?? ''}`;
      csiClaim(name, 'refuse.csi.test', {}, device === undefined ? {} : { volumeMode: 'Block' });
      const pod = podWith(name, [claimVolume(name)], {}, device);
      attach(`vol-${name}`);
      refuses.fail('NodePublishVolume', 3, 'not like this');
      assert.match(await fails(pod), /not like this/);
      assert.deepEqual(inUse(), [`kubernetes.io/csi/refuse.csi.test^vol-${name}`]);
      const before = refuses.count('NodeUnstageVolume');
      await gone(name);
      assert.equal(refuses.count('NodeUnstageVolume'), before + 1);
      assert.deepEqual(inUse(), []);
    }
    csiClaim('never', 'refuse.csi.test');
    const waits = podWith('never', [claimVolume('never')]);
    await lab.materials.preparePod(waits, signal);
    const given = new AbortController();
    const waiting = lab.materials.mountVolumes(waits, given.signal);
    await until('it waits', () => inUse().length === 1);
    given.abort();
    await assert.rejects(waiting);
    await gone('never');
    assert.deepEqual(inUse(), []);
  });

  it('make inline volumes where the driver can, with tokens and secrets', async () => {
    const inline = await driver('inline.csi.test');
    const volume: Volume = {
      name: 'in',
      csi: { driver: 'inline.csi.test', volumeAttributes: { size: '1' }, nodePublishSecretRef: { name: 'pw' } },
    };
    api.driver('inline.csi.test', { volumeLifecycleModes: ['Persistent'] });
    assert.equal(
      await fails(podWith('i1', [volume])),
      'FailedMount MountVolume.NewMounter initialization failed for volume "in" : volume mode "Ephemeral" not supported by driver inline.csi.test (only supports ["Persistent"])',
    );
    await gone('i1');
    lab.api.put('Secret', 'ns', 'pw', { password: 'hunter22' });
    api.driver('inline.csi.test', {
      volumeLifecycleModes: ['Ephemeral'],
      podInfoOnMount: true,
      tokenRequests: [{ audience: 'vault' }],
      requiresRepublish: true,
    });
    const path = (await up(podWith('i2', [volume]))).get('in')?.hostPath as string;
    assert.equal(path, kubelet('pods/i2/volumes/kubernetes.io~csi/in/mount'));
    const [publish] = inline.calls.filter((c) => c.method === 'NodePublishVolume');
    assert.match(publish?.request.volumeId ?? '', /^csi-[0-9a-f]{64}$/);
    assert.deepEqual(publish?.request.secrets, { password: 'hunter22' });
    assert.equal(publish?.request.volumeContext['csi.storage.k8s.io/ephemeral'], 'true');
    const tokens = JSON.parse(publish?.request.volumeContext['csi.storage.k8s.io/serviceAccount.tokens'] ?? '');
    assert.match(tokens.vault.token, /^token-/);
    assert.equal(JSON.parse(await text(join(path, '../vol_data.json'))).volumeLifecycleMode, 'Ephemeral');
    await gone('i2');
    assert.equal(inline.count('NodeUnpublishVolume'), 1);
  });

  it('map a block volume and undo it', async () => {
    const blocks = await driver('block.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    api.driver('block.csi.test', { attachRequired: false });
    csiClaim('b', 'block.csi.test', {}, { volumeMode: 'Block' });
    const pod = podWith('b1', [claimVolume('b')], {}, 'data');
    const volume = (await up(pod)).get('data');
    const link = kubelet('pods/b1/volumeDevices/kubernetes.io~csi/pv-b');
    assert.deepEqual([volume?.hostPath, volume?.device], [link, true]);
    assert.equal(await readlink(link), csi('volumeDevices/publish/pv-b/b1'));
    assert.ok((await stat(link)).isBlockDevice());
    assert.ok((await stat(csi('volumeDevices/pv-b/dev/b1'))).isBlockDevice());
    assert.equal(JSON.parse(await text(csi('volumeDevices/pv-b/data/vol_data.json'))).volumeHandle, 'vol-b');
    const [stage] = blocks.calls.filter((c) => c.method === 'NodeStageVolume');
    assert.equal(stage?.request.stagingPath, csi('volumeDevices/staging/pv-b'));
    assert.ok(stage?.request.capability.block);
    await gone('b1');
    assert.equal(blocks.count('NodeUnstageVolume'), 1);
    assert.deepEqual(
      (await mounts()).filter((m) => m.includes('volumeDevices')),
      [],
    );
    await assert.rejects(stat(csi('volumeDevices/pv-b')), { code: 'ENOENT' });
  });

  it('leave the group to a driver that sees to it, and tell it how the volume is shared', async () => {
    const able = await driver('able.csi.test', {
      capabilities: ['STAGE_UNSTAGE_VOLUME', 'VOLUME_MOUNT_GROUP', 'SINGLE_NODE_MULTI_WRITER'],
    });
    api.driver('able.csi.test', { attachRequired: false, fsGroupPolicy: 'File' });
    const mode = async (name: string, accessModes: string[]) => {
      csiClaim(name, 'able.csi.test', {}, { accessModes });
      const pod = podWith(name, [claimVolume(name)], { securityContext: { fsGroup: 4242 } });
      const path = (await up(pod)).get('data')?.hostPath as string;
      assert.notEqual((await stat(path)).gid, 4242);
      await gone(name);
      const { capability } = able.calls.filter((c) => c.method === 'NodePublishVolume').at(-1)?.request ?? {};
      assert.equal(capability?.mount?.mountGroup, '4242');
      return capability?.access.mode;
    };
    assert.equal(await mode('rwo', ['ReadWriteOnce']), 'SINGLE_NODE_MULTI_WRITER');
    assert.equal(await mode('rwop', ['ReadWriteOncePod']), 'SINGLE_NODE_SINGLE_WRITER');
    assert.equal(await mode('rox', ['ReadOnlyMany']), 'MULTI_NODE_READER_ONLY');
    assert.equal(await mode('rwx', ['ReadWriteMany']), 'MULTI_NODE_MULTI_WRITER');
  });

  it('hand a device over after a restart without its driver', async () => {
    const solid = await driver('solid.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME'] });
    api.driver('solid.csi.test', { attachRequired: false });
    csiClaim('so', 'solid.csi.test', {}, { volumeMode: 'Block' });
    const pod = podWith('so1', [claimVolume('so')], {}, 'data');
    const link = (await up(pod)).get('data')?.hostPath;
    solid.kill();
    await lab.restart();
    const again = (await up(pod)).get('data');
    assert.deepEqual([again?.hostPath, again?.device], [link, true]);
    await assert.rejects(
      lab.materials.release('so1', signal),
      /UnmapVolume\.UnmapPodDevice failed for volume "pv-so" : /,
    );
    await solid.start();
    await until('the driver is back', () => solid.notices.length > 1);
    await gone('so1');
    assert.deepEqual(
      (await mounts()).filter((m) => m.includes('volumeDevices')),
      [],
    );
  });

  it('never go where a name of the server leads out', async () => {
    const odd = async (name: string, spec: object) => {
      api.claim(name, `pv-${name}`, { spec: spec as Record<string, unknown> });
      const message = await fails(podWith(`odd-${name}`, [claimVolume(name)]));
      await gone(`odd-${name}`);
      return message;
    };
    assert.match(await odd('o1', { csi: { driver: '../../x', volumeHandle: 'v' } }), /is no name of a CSI driver/);
    assert.match(await odd('o2', { csi: { driver: 'pv', volumeHandle: 'v' } }), /is no name of a CSI driver/);
    assert.match(await odd('o3', { local: { path: 'relative' } }), /path "relative" does not exist/);
    assert.match(
      await odd('o4', { hostPath: { path: '/tmp/../etc' } }),
      /^FailedMount MountVolume\.SetUp failed for volume "pv-o4" : /,
    );
    assert.match(await odd('o5', { rbd: { image: 'x' } }), /of a kind this agent does not support/);
    assert.match(
      await odd('o6', { nodeAffinity: { required: {} }, local: { path: '/tmp' } }),
      /no matching NodeSelectorTerms/,
    );
    api.claim('o7', '../../../etc', { spec: { local: { path: '/tmp' } } });
    const there = api.objects.get('/api/v1/persistentvolumes/../../../etc') as Record<string, unknown>;
    api.objects.set('/api/v1/persistentvolumes/..%2F..%2F..%2Fetc', there);
    assert.match(await fails(podWith('odd-o7', [claimVolume('o7')])), /can't be used as a file name/);
    await gone('odd-o7');
  });

  it('grow the file system of a volume that was made larger, and say so', async () => {
    const grows = await driver('grow.csi.test', { capabilities: ['STAGE_UNSTAGE_VOLUME', 'EXPAND_VOLUME'] });
    api.driver('grow.csi.test', { attachRequired: false });
    csiClaim('g', 'grow.csi.test', {}, { capacity: { storage: '2Gi' } });
    const claim = '/api/v1/namespaces/ns/persistentvolumeclaims/g';
    api.update(claim, (o) => {
      o.status = {
        phase: 'Bound',
        capacity: { storage: '1Gi' },
        conditions: [{ type: 'FileSystemResizePending', status: 'True' }],
      };
    });
    const path = (await up(podWith('g1', [claimVolume('g')]))).get('data')?.hostPath;
    const [expand] = grows.calls.filter((c) => c.method === 'NodeExpandVolume');
    assert.deepEqual([expand?.request.volumePath, expand?.request.range.requiredBytes], [path, 2 * 2 ** 30]);
    assert.match(expand?.request.stagingPath ?? '', /globalmount$/);
    assert.deepEqual(api.objects.get(claim)?.status, { phase: 'Bound', capacity: { storage: '2Gi' } });
    assert.deepEqual(api.events.slice(-1), [
      'pod-g1 Normal FileSystemResizeSuccessful MountVolume.NodeExpandVolume succeeded for volume "pv-g" n1',
    ]);
    await gone('g1');
    await rm(join(lab.dir, 'grow.csi.test/volumes'), { recursive: true });
  });
});

describe('storage as time goes on', { skip, timeout: 60_000 }, () => {
  const SPEED = 200;
  const fast: Clock = {
    ...systemClock,
    monotonic: () => performance.now() * SPEED,
    after: (ms, fn) => systemClock.after(ms / SPEED, fn),
  };

  it('asks a driver to publish anew, and finds a claim that has grown', async () => {
    const api = new FakeStorageApi();
    const lab = await createVolumesLab({ storage: api.node, clock: fast });
    await lab.materials.start(signal);
    const made = createCsiDriver({
      name: 'again.csi.test',
      dir: join(lab.dir, 'again'),
      registry: join(lab.dir, 'kubelet/plugins_registry'),
      capabilities: ['EXPAND_VOLUME'],
    });
    try {
      await made.start();
      await until('it is registered', () => made.notices.length > 0);
      api.driver('again.csi.test', { attachRequired: false, requiresRepublish: true });
      const csi = { driver: 'again.csi.test', volumeHandle: 'vol' };
      api.claim('c', 'pv-c', { spec: { csi } });
      const pod = podWith('t1', [claimVolume('c')]);
      await lab.materials.preparePod(pod, signal);
      assert.equal((await lab.materials.mountVolumes(pod, signal)).ready, true);
      await until('it is published again', () => made.count('NodePublishVolume') > 1);
      assert.equal(made.count('NodeExpandVolume'), 0);
      api.update('/api/v1/persistentvolumes/pv-c', (pv) => {
        Object.assign(pv.spec as object, { capacity: { storage: '3Gi' } });
      });
      await until('it has grown', () => made.count('NodeExpandVolume') === 1);
      const claim = '/api/v1/namespaces/ns/persistentvolumeclaims/c';
      await until('the claim says so', () =>
        JSON.stringify(api.objects.get(claim)?.status).includes('"storage":"3Gi"'),
      );
      const published = made.count('NodePublishVolume');
      await until('and goes on', () => made.count('NodePublishVolume') > published + 1);
      assert.equal(made.count('NodeExpandVolume'), 1, 'once');
      await lab.materials.release('t1', signal);
    } finally {
      made.kill();
      await lab.end();
    }
  });
});
