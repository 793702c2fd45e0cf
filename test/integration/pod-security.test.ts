import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { until } from './cri-support.ts';
import { createPodLab, IMAGES, type PodLab, podLabMissing } from './pod-lab.ts';

const skip = await podLabMissing({ network: false });
if (skip) console.log(`skipped: ${skip}`);

const CAP = { NET_RAW: 13n, NET_ADMIN: 12n, SYS_ADMIN: 21n, CHOWN: 0n };

/** The security context of pods, as the kernel shows it inside (upstream test/e2e/{common/node,node}/security_context.go). */
describe('the security context of a pod', { skip: skip ?? false, timeout: 180_000 }, () => {
  let lab: PodLab;
  before(async () => {
    lab = await createPodLab('sec', { materials: { allowedUnsafeSysctls: ['net.core.somaxconn'] } });
  });
  after(() => lab?.end());

  /** A line of /proc/self/status. */
  const status = async (name: string, field: string) =>
    (await lab.sh(name, `busybox grep ^${field}: /proc/self/status`)).split(/\s+/).slice(1).join(' ');
  const can = async (name: string, cap: bigint) => ((BigInt(`0x${await status(name, 'CapEff')}`) >> cap) & 1n) === 1n;
  const id = (name: string) => lab.sh(name, 'echo $(busybox id -u) $(busybox id -g) $(busybox id -G)');
  const waiting = async (name: string) => {
    const message = await lab.event(name, 'Failed');
    return [lab.api.get(name)?.status?.containerStatuses?.[0]?.state?.waiting?.reason, message];
  };

  it('users and groups: of the container, of the pod, of the image', async () => {
    const groups = { fsGroup: 3000, supplementalGroups: [4000] };
    lab.put('u-pod', { podSecurity: { runAsUser: 1001, runAsGroup: 2002, ...groups } });
    lab.put('u-own', { podSecurity: { runAsUser: 1001, runAsGroup: 2002 }, security: { runAsUser: 65534 } });
    lab.put('u-number', { image: IMAGES.number });
    lab.put('u-name', { image: IMAGES.name });
    lab.put('u-merge', { image: IMAGES.accounts, podSecurity: { runAsUser: 1000, runAsGroup: 1000 } });
    for (const name of ['u-pod', 'u-own', 'u-number', 'u-name', 'u-merge']) await lab.ready(name);
    assert.equal(await id('u-pod'), '1001 2002 2002 3000 4000');
    assert.equal(await id('u-own'), '65534 2002 2002');
    assert.match(await id('u-number'), /^1000 1000 1000/);
    assert.match(await id('u-name'), /^1000 1000 1000/);
    assert.match(await id('u-merge'), / 50000$/, 'groups of /etc/group are added (Merge)');
    const shown = lab.api.get('u-pod')?.status?.containerStatuses?.[0] as { user?: { linux?: object } };
    if (shown.user)
      assert.deepEqual(shown.user.linux, { uid: 1001, gid: 2002, supplementalGroups: [2002, 3000, 4000] });
    await lab.remove('u-pod', 'u-own', 'u-number', 'u-name', 'u-merge');
  });

  it('runAsNonRoot: the four refusals and what is let through', async () => {
    const nonRoot = { runAsNonRoot: true };
    lab.put('n-none', { security: nonRoot });
    lab.put('n-name', { security: nonRoot, image: IMAGES.name });
    lab.put('n-zero', { security: { ...nonRoot, runAsUser: 0 } });
    lab.put('n-image', { security: nonRoot, image: IMAGES.number });
    lab.put('n-given', { security: { ...nonRoot, runAsUser: 1234 } });
    const of = (name: string) => `(pod: "${name}_default(${lab.api.get(name)?.metadata.uid})", container: main)`;
    assert.deepEqual(await waiting('n-none'), [
      'CreateContainerConfigError',
      `Error: container has runAsNonRoot and image will run as root ${of('n-none')}`,
    ]);
    assert.deepEqual(await waiting('n-name'), [
      'CreateContainerConfigError',
      `Error: container has runAsNonRoot and image has non-numeric user (bob), cannot verify user is non-root ${of('n-name')}`,
    ]);
    assert.deepEqual(await waiting('n-zero'), [
      'CreateContainerConfigError',
      `Error: container's runAsUser breaks non-root policy ${of('n-zero')}`,
    ]);
    await lab.ready('n-image');
    await lab.ready('n-given');
    await lab.remove('n-none', 'n-name', 'n-zero', 'n-image', 'n-given');
  });

  it('capabilities, privileged, read-only root, no new privileges', async () => {
    lab.put('c-plain');
    lab.put('c-caps', { security: { capabilities: { add: ['NET_ADMIN'], drop: ['NET_RAW', 'CHOWN'] } } });
    lab.put('c-none', { security: { capabilities: { drop: ['ALL'] } } });
    lab.put('c-priv', { security: { privileged: true } });
    lab.put('c-ro', { security: { readOnlyRootFilesystem: true } });
    lab.put('c-nnp', { security: { allowPrivilegeEscalation: false, runAsUser: 1000 } });
    for (const name of ['c-plain', 'c-caps', 'c-none', 'c-priv', 'c-ro', 'c-nnp']) await lab.ready(name);
    assert.deepEqual([await can('c-plain', CAP.NET_RAW), await can('c-plain', CAP.NET_ADMIN)], [true, false]);
    assert.deepEqual(
      [await can('c-caps', CAP.NET_ADMIN), await can('c-caps', CAP.NET_RAW), await can('c-caps', CAP.CHOWN)],
      [true, false, false],
    );
    assert.equal(await status('c-none', 'CapEff'), '0000000000000000');
    assert.equal(await can('c-priv', CAP.SYS_ADMIN), true);
    assert.match(
      await lab.sh('c-priv', 'busybox ip link add kat0 type bridge && busybox ip link del kat0; echo $?'),
      /0$/,
    );
    assert.match(await lab.sh('c-plain', 'busybox ip link add kat0 type bridge'), /not permitted/);
    assert.match(await lab.sh('c-ro', 'echo x > /file'), /Read-only file system/);
    assert.equal(await lab.sh('c-plain', 'echo x > /file && cat /file'), 'x');
    assert.deepEqual([await status('c-nnp', 'NoNewPrivs'), await status('c-plain', 'NoNewPrivs')], ['1', '0']);
    await lab.remove('c-plain', 'c-caps', 'c-none', 'c-priv', 'c-ro', 'c-nnp');
  });

  it('masked paths, and none of them with procMount Unmasked', async () => {
    lab.put('m-plain');
    lab.put('m-open', { security: { procMount: 'Unmasked' } });
    await lab.ready('m-plain');
    await lab.ready('m-open');
    assert.equal(await lab.sh('m-plain', 'busybox wc -c < /proc/timer_list'), '0');
    assert.equal(await lab.sh('m-plain', 'busybox ls /sys/firmware'), '');
    assert.match(await lab.sh('m-plain', 'echo 1 > /proc/sys/kernel/printk_ratelimit'), /Read-only|denied/i);
    assert.match(await lab.sh('m-open', 'busybox grep -c . /proc/interrupts'), /^[1-9]/);
    assert.equal(await lab.sh('m-plain', 'busybox wc -c < /proc/interrupts'), '0');
    await lab.remove('m-plain', 'm-open');
  });

  it('seccomp: Unconfined unless asked, RuntimeDefault, Localhost from its folder, a profile that is not there', async () => {
    const folder = join(lab.kubeletDir, 'seccomp/profiles');
    await mkdir(folder, { recursive: true });
    const deny = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }],
    };
    await writeFile(join(folder, 'no-mkdir.json'), JSON.stringify(deny));
    const profile = (type: string, localhostProfile?: string) => ({ seccompProfile: { type, localhostProfile } });
    lab.put('s-none');
    lab.put('s-default', { podSecurity: profile('RuntimeDefault') });
    lab.put('s-own', { podSecurity: profile('RuntimeDefault'), security: profile('Unconfined') });
    lab.put('s-local', { security: profile('Localhost', 'profiles/no-mkdir.json') });
    lab.put('s-gone', { security: profile('Localhost', 'profiles/gone.json') });
    lab.put('s-old', { annotations: { 'seccomp.security.alpha.kubernetes.io/pod': 'runtime/default' } });
    for (const name of ['s-none', 's-default', 's-own', 's-local', 's-old']) await lab.ready(name);
    assert.deepEqual(
      await Promise.all(['s-none', 's-default', 's-own', 's-local'].map((name) => status(name, 'Seccomp'))),
      ['0', '2', '0', '2'],
    );
    assert.match(await lab.sh('s-local', 'busybox mkdir /x'), /not permitted/);
    assert.equal(await status('s-old', 'Seccomp'), '0', 'the annotation is the API server’s to turn into a field');
    const [reason, text] = await waiting('s-gone');
    assert.equal(reason, 'CreateContainerError');
    assert.match(
      text as string,
      /cannot load seccomp profile ".*\/seccomp\/profiles\/gone\.json": open .*: no such file or directory/,
    );
    await lab.remove('s-none', 's-default', 's-own', 's-local', 's-gone', 's-old');
  });

  it('host namespaces, a shared process namespace, and those of its own', async () => {
    const two = (spec: object) => ({
      spec: {
        containers: ['a', 'b'].map((name) => ({
          name,
          image: 'docker.io/library/kat-busybox:1',
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', `exec busybox sleep 12345${name === 'a' ? 1 : 2}`],
        })),
        hostNetwork: true,
        ...spec,
      },
    });
    lab.put('h-own', two({}));
    lab.put('h-shared', two({ shareProcessNamespace: true }));
    lab.put('h-pid', two({ hostPID: true }));
    lab.put('h-ipc', two({ hostIPC: true }));
    for (const name of ['h-own', 'h-shared', 'h-pid', 'h-ipc']) await lab.ready(name);
    const ps = (name: string, container: string) => lab.sh(name, 'busybox ps', container);
    assert.doesNotMatch(await ps('h-own', 'b'), /sleep 123451/);
    assert.match(await ps('h-shared', 'b'), /sleep 123451/);
    assert.match(
      await lab.sh('h-shared', 'busybox cat /proc/1/cmdline', 'b'),
      /sleep.*1000000/,
      'the sandbox is process 1',
    );
    assert.match(await ps('h-pid', 'a'), /containerd/);
    const ns = async (name: string, kind: string) => lab.sh(name, `busybox readlink /proc/self/ns/${kind}`, 'a');
    const here = (kind: string) => lab.onHost('readlink', `/proc/self/ns/${kind}`).out.trim();
    assert.equal(await ns('h-ipc', 'ipc'), here('ipc'));
    assert.notEqual(await ns('h-own', 'ipc'), here('ipc'));
    assert.equal(await ns('h-own', 'net'), here('net'));
    assert.equal(await ns('h-pid', 'pid'), here('pid'));
    await lab.remove('h-own', 'h-shared', 'h-pid', 'h-ipc');
  });

  it('hostUsers false where the runtime can not: upstream’s words, and the pod waits alone', async () => {
    lab.put('user-ns', { spec: { hostUsers: false } });
    lab.put('neighbour', { spec: { hostUsers: true } });
    await lab.ready('neighbour');
    assert.equal(
      await lab.event('user-ns', 'FailedCreatePodSandBox'),
      "Failed to create pod sandbox: can't set `spec.hostUsers: false`, runtime does not support user namespaces",
    );
    await until(() => lab.api.get('user-ns')?.status?.phase === 'Pending', 10_000);
    await lab.remove('user-ns', 'neighbour');
  });

  it('pods this node must refuse: sysctls, AppArmor, groups policy, another system', async () => {
    const rejected = async (name: string, wish: Parameters<PodLab['put']>[1]) => {
      lab.put(name, wish);
      const message = await lab.event(name, 'SysctlForbidden').catch(() => undefined);
      const { phase, reason, message: shown } = lab.api.get(name)?.status ?? {};
      return { message, phase, reason, shown };
    };
    const got = await rejected('r-sysctl', {
      podSecurity: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] },
    });
    assert.deepEqual(got, {
      message: 'forbidden sysctl: "kernel.msgmax" not allowlisted',
      phase: 'Failed',
      reason: 'SysctlForbidden',
      shown: 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
    });
    lab.put('r-groups', { podSecurity: { supplementalGroupsPolicy: 'Strict' } });
    lab.put('r-os', { spec: { os: { name: 'windows' } } });
    assert.equal(
      await lab.event('r-groups', 'SupplementalGroupsPolicyNotSupported'),
      'SupplementalGroupsPolicy=Strict is not supported in this node',
    );
    assert.equal(
      await lab.event('r-os', 'PodOSNotSupported'),
      "Failed to admit pod as the OS field doesn't match node OS",
    );
    await lab.remove('r-sysctl', 'r-groups', 'r-os');
  });
});
