import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadKubeletSettings, mergeComponentArgs } from '../../../../src/config/index.ts';
import type { DropInFiles } from '../../../../src/config/kubelet/drop-ins.ts';

const DATA = '/data';
const DROP_INS = '/data/agent/etc/kubelet.conf.d';
const HEAD = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

/** Files in memory, by path. */
function filesOf(contents: Readonly<Record<string, string>>): DropInFiles {
  return {
    read: async (path) => contents[path],
    walk: async (dir) => {
      const found = Object.keys(contents).filter((path) => path.startsWith(`${dir}/`));
      return found.length === 0 ? undefined : found.map((path) => path.slice(dir.length + 1));
    },
  };
}

function load(args: readonly string[], files: Readonly<Record<string, string>> = {}) {
  return loadKubeletSettings({ args: mergeComponentArgs({}, args), dataDir: DATA, files: filesOf(files) });
}

test('without arguments and files everything is as k3s sets it', async () => {
  const { settings, warnings } = await load([]);
  assert.deepEqual(warnings, []);
  assert.equal(settings.maxPods, 110);
  assert.equal(settings.staticPodPath, '/data/agent/pod-manifests');
  assert.equal(settings.serializeImagePulls, false);
  assert.deepEqual(settings.evictionHard, {
    'imagefs.available': { share: Math.fround(0.05) },
    'nodefs.available': { share: Math.fround(0.05) },
  });
});

test('values are read as the original reads them', async () => {
  const { settings } = await load([
    'max_pods=0x20',
    'kube-reserved=cpu=100m,memory=128Mi',
    'system-reserved=cpu=0.2,pid=50',
    'eviction-hard=memory.available<5%,nodefs.available<1Gi,imagefs.available<0%',
    'eviction-soft=memory.available<300Mi',
    'eviction-soft-grace-period=memory.available=1m30s',
    'eviction-minimum-reclaim=nodefs.available=500Mi',
    'container-log-max-size=5Mi',
    'minimum-image-ttl-duration=1h0.5m',
    'allowed-unsafe-sysctls=net.core.somaxconn,kernel.msg*',
    'allowed-unsafe-sysctls=net.ipv4.tcp_syncookies',
    'seccomp-default',
    'pod-max-pids=-1',
  ]);
  assert.equal(settings.maxPods, 32);
  assert.deepEqual(settings.kubeReserved, { cpu: 100, memory: 2 ** 27, ephemeralStorage: 0, pid: 0 });
  assert.deepEqual(settings.systemReserved, { cpu: 200, memory: 0, ephemeralStorage: 0, pid: 50 });
  assert.deepEqual(settings.evictionHard, {
    'memory.available': { share: Math.fround(0.05) },
    'nodefs.available': { quantity: 2 ** 30 },
  });
  assert.deepEqual(settings.evictionSoftGracePeriod, { 'memory.available': 90_000 });
  assert.deepEqual(settings.evictionMinimumReclaim, { 'nodefs.available': { quantity: 500 * 2 ** 20 } });
  assert.equal(settings.containerLogMaxSize, 5 * 2 ** 20);
  assert.equal(settings.imageMinimumGCAge, 3_630_000);
  assert.deepEqual(settings.allowedUnsafeSysctls, ['net.core.somaxconn', 'kernel.msg*', 'net.ipv4.tcp_syncookies']);
  assert.equal(settings.seccompDefault, true);
});

test('a value of the wrong kind is an error that names the argument and what would be right', async () => {
  const cases: [string, RegExp][] = [
    ['max-pods=many', /--kubelet-arg=max-pods "many" must be a whole number/],
    ['max-pods=-1', /max-pods .*at least 0/],
    ['port=70000', /port "70000" must be a whole number from 1 to 65535/],
    ['kube-reserved=lots', /kube-reserved "lots" must be a list of name=value/],
    ['kube-reserved=gpu=1', /names "gpu", which can't be reserved/],
    ['kube-reserved=memory=-1Gi', /must not be negative/],
    ['eviction-hard=memory.available=5%', /must be a list of name<value/],
    ['eviction-hard=memory.free<5%', /names "memory.free"/],
    ['eviction-hard=memory.available<120%', /no percentage/],
    ['eviction-hard=memory.available<0', /must be more than 0/],
    ['seccomp-default=yes', /must be true or false/],
    ['minimum-image-ttl-duration=10', /must be a duration/],
    ['image-gc-high-threshold=101', /from 0 to 100/],
    ['container-log-max-files=1', /at least 2/],
    ['container-log-max-size=big', /must be a size/],
    ['feature-gates=A=maybe', /Name=true/],
    ['register-with-taints=a=b', /Effect/],
    ['oom-score-adj=5000', /-1000 to 1000/],
    ['config', /needs a path/],
  ];
  for (const [arg, message] of cases) await assert.rejects(load([arg]), { code: 'CONFIG_INVALID', message }, arg);
});

test('settings that exclude each other are refused together', async () => {
  await assert.rejects(load(['image-gc-high-threshold=70', 'eviction-soft=memory.available<1Gi']), (error: Error) => {
    assert.match(error.message, /image-gc-low-threshold.*80 must be less than .*70/);
    assert.match(error.message, /grace period for memory\.available/);
    return true;
  });
});

test('a slip of the keyboard is told from a flag of another version', async () => {
  await assert.rejects(load(['max-pod=3']), {
    code: 'CONFIG_UNKNOWN',
    message: /--kubelet-arg=max-pod: the kubelet has no such flag/,
    remedy: /did you mean --kubelet-arg=max-pods=/,
  });
  const { warnings } = await load(['network-plugin=cni', 'pod-infra-container-image=x', 'sync-frequency=1s']);
  assert.deepEqual(warnings, [
    '--kubelet-arg=pod-infra-container-image is not supported: give it with --pause-image of the agent',
  ]);
});

test('what can not be had is refused with the reason, or gone on without', async () => {
  await assert.rejects(load(['hostname-override=x']), { code: 'CONFIG_UNSUPPORTED', message: /--node-name/ });
  assert.deepEqual(
    (await load(['fail-cgroupv1=false', 'anonymous-auth=false', 'cloud-provider=external'])).warnings,
    [],
  );
  assert.match((await load(['anonymous-auth=true'])).warnings.join(), /anonymous-auth is not supported/);
  assert.match((await load(['feature-gates=Foo=true'])).warnings.join(), /Foo=true.* have no effect/);
});

test('files apply by name, maps merge, null takes away, and arguments win', async () => {
  const { settings, warnings } = await load(
    ['config=/etc/a.conf', 'config-dir=/etc/k.d', 'pods-per-core=0', 'max-pods=7'],
    {
      [`${DROP_INS}/00-k3s-defaults.conf`]: `${HEAD}maxPods: 1\n`,
      [`${DROP_INS}/15-own.conf`]: `${HEAD}evictionHard: {memory.available: 100Mi, imagefs.available: null}\nport: 1111\n`,
      [`${DROP_INS}/notes.txt`]: 'not: [read',
      '/etc/a.conf': `${HEAD}maxPods: 50\nport: 2222\nclusterDNS: [10.0.0.10]\n`,
      '/etc/k.d/1.conf': `${HEAD}port: 3333\n`,
      '/etc/k.d/2.conf':
        '{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","imageMinimumGCAge":"0s"}',
    },
  );
  assert.equal(settings.maxPods, 7);
  assert.equal(settings.port, 3333);
  assert.deepEqual(settings.clusterDNS, ['10.0.0.10']);
  assert.deepEqual(settings.evictionHard, {
    'nodefs.available': { share: Math.fround(0.05) },
    'memory.available': { quantity: 100 * 2 ** 20 },
  });
  assert.equal(settings.imageMinimumGCAge, 120_000);
  assert.deepEqual(
    warnings.filter((warning) => /no setting/.test(warning)),
    [],
  );
});

test('a file that can not be used is an error that names it', async () => {
  const own = (text: string) => load([], { [`${DROP_INS}/a.conf`]: text });
  await assert.rejects(own('a: [b'), { code: 'CONFIG_FILE', message: /a\.conf:\d+.*not valid YAML/ });
  await assert.rejects(own('maxPods: 3'), { code: 'CONFIG_FILE', message: /apiVersion none/ });
  await assert.rejects(own('- 1'), { code: 'CONFIG_FILE', message: /must hold a KubeletConfiguration/ });
  await assert.rejects(own(`${HEAD}maxPods: many\n`), {
    code: 'CONFIG_INVALID',
    message: /maxPods \(from .*a\.conf\) "many" must be a whole number/,
  });
  await assert.rejects(load(['config=/missing']), { code: 'CONFIG_FILE', message: /\/missing.*no such file/ });
  await assert.rejects(load(['config-dir=/missing']), { code: 'CONFIG_FILE', message: /\/missing.*no such folder/ });
  const { warnings } = await own(`${HEAD}maxPod: 3\nauthentication: {x509: {caFile: a}}\n`);
  assert.match(warnings.join('\n'), /no setting "maxPod"; did you mean "maxPods"/);
  assert.match(warnings.join('\n'), /no setting "authentication.x509.caFile"/);
});
