import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { appArmorFault, apparmor } from '../../../../src/kubelet/containers/apparmor.ts';
import { assertBandwidth } from '../../../../src/kubelet/containers/bandwidth.ts';
import {
  type AnyContainer,
  containerSecurity,
  hostsFile,
  makeContainerConfig,
  makeSandboxConfig,
  parseResolvConf,
  podDns,
  podHostname,
  verifyNonRoot,
} from '../../../../src/kubelet/containers/index.ts';

const ANNOTATION = 'container.apparmor.security.beta.kubernetes.io';
const pod = (spec: object = {}, metadata: object = {}): Pod =>
  ({
    metadata: { name: 'web', namespace: 'ns', uid: 'u-1', ...metadata },
    spec: { containers: [{ name: 'main', image: 'img:1' }], ...spec },
  }) as unknown as Pod;
const first = (p: Pod) => p.spec.containers[0] as AnyContainer;
const host = {
  cgroupVersion: 2 as const,
  memoryCapacity: 2 ** 30,
  cpuCfsQuota: true,
  swapController: false,
  swapBytes: 0,
  singleProcessOomKill: false,
  hugepageUnits: [],
};
const main = (securityContext: object, more: object = {}) =>
  pod({ containers: [{ name: 'main', image: 'i', securityContext }], ...more });

describe('AppArmor', () => {
  const wish = (own?: object, whole?: object, annotation?: string) =>
    pod(
      {
        containers: [{ name: 'main', securityContext: own && { appArmorProfile: own } }],
        securityContext: { appArmorProfile: whole },
      },
      annotation === undefined ? {} : { annotations: { [`${ANNOTATION}/main`]: annotation } },
    );
  const of = (p: Pod) => apparmor(p, first(p));

  it('goes by the container, then the annotation, then the pod', () => {
    const runtime = { type: 'RuntimeDefault' };
    const open = { type: 'Unconfined' };
    assert.equal(of(wish()), undefined);
    assert.deepEqual(of(wish(undefined, runtime)), { profileType: 'RuntimeDefault' });
    assert.deepEqual(of(wish(undefined, runtime, 'unconfined')), { profileType: 'Unconfined' });
    assert.deepEqual(of(wish(runtime, open, 'unconfined')), { profileType: 'RuntimeDefault' });
    assert.deepEqual(of(wish(undefined, runtime, 'nonsense')), { profileType: 'RuntimeDefault' });
    assert.deepEqual(of(wish(undefined, undefined, 'localhost/mine')), {
      profileType: 'Localhost',
      localhostRef: 'mine',
    });
    assert.throws(() => of(wish({ type: 'Localhost' })), /missing localhost apparmor profile name/);
    assert.throws(() => of(wish({ type: 'Other' })), /unknown apparmor profile type: "Other"/);
  });

  it('is refused where the host has none, or a profile has no name', () => {
    const none = 'Cannot enforce AppArmor: AppArmor is not enabled on the host';
    assert.equal(appArmorFault(wish(), false), undefined);
    assert.equal(appArmorFault(wish({ type: 'Unconfined' }, { type: 'Unconfined' }, 'unconfined'), false), undefined);
    assert.equal(appArmorFault(wish(undefined, { type: 'RuntimeDefault' }), false), none);
    assert.equal(appArmorFault(wish(undefined, undefined, 'runtime/default'), false), none);
    assert.equal(appArmorFault(wish({ type: 'RuntimeDefault' }), true), undefined);
    assert.equal(
      appArmorFault(wish({ type: 'Localhost', localhostProfile: ' ' }), true),
      'Cannot enforce AppArmor: invalid empty AppArmor profile name: " "',
    );
  });
});

describe('a container’s security', () => {
  const options = {
    seccompRoot: '/s',
    seccompDefault: false,
    maskedPaths: ['/sys/devices/system/cpu/cpu0/thermal_throttle'],
  };
  const of = (p: Pod, users?: { hostId: number; containerId: number; length: number }) =>
    containerSecurity({ pod: p, container: first(p), image: {}, users }, options);

  it('hides what the host’s processors tell, too', () => {
    assert.ok(of(pod()).maskedPaths?.includes('/sys/devices/system/cpu/cpu0/thermal_throttle'));
    assert.deepEqual(of(main({ procMount: 'Unmasked' })).maskedPaths, []);
  });

  it('passes SELinux options on and overlooks those for windows', () => {
    const p = main({ seLinuxOptions: { type: 't', level: 's0:c1' }, windowsOptions: { runAsUserName: 'x' } });
    assert.deepEqual(of(p).selinuxOptions, { type: 't', level: 's0:c1' });
    assert.doesNotMatch(JSON.stringify(of(p)), /runAsUserName|windows/);
  });

  it('refuses an image user that is no user id', () => {
    const p = main({ runAsNonRoot: true });
    assert.throws(
      () => verifyNonRoot(p, first(p), { uid: 2 ** 31 }),
      /image has an invalid user id \(2147483648\)\. \(Must be 1-\(2147483647\)\): must be between 0 and 2147483647, inclusive \(pod: "web_ns\(u-1\)", container: main\)$/,
    );
  });

  it('maps users and the files of volumes into the pod’s own range', () => {
    const users = { hostId: 65_536, containerId: 0, length: 65_536 };
    const p = pod({ hostUsers: false });
    const userns = { mode: 'POD', uids: [users], gids: [users] };
    assert.deepEqual(of(p, users).namespaceOptions?.usernsOptions, userns);
    const config = makeContainerConfig({
      pod: p,
      container: first(p),
      restartCount: 0,
      image: { ref: 'x' },
      environment: new Map(),
      mounts: [{ containerPath: '/m', hostPath: '/h' }],
      users,
      host,
      security: options,
    });
    assert.deepEqual(config.mounts, [
      { containerPath: '/m', hostPath: '/h', uidMappings: [users], gidMappings: [users] },
    ]);
    const sandbox = makeSandboxConfig(p, {
      attempt: 0,
      cgroupParent: '/p',
      logDir: '/l',
      dns: { servers: [], searches: [], options: [] },
      hostname: podHostname(p, 'cluster.local'),
      host,
      users,
    });
    assert.deepEqual(sandbox.linux?.securityContext?.namespaceOptions?.usernsOptions, userns);
    assert.equal(of(pod()).namespaceOptions?.usernsOptions, undefined);
  });
});

describe('names of pods', () => {
  const name = (spec: object) => podHostname(pod(spec), 'cluster.local');
  it('are those of hostnameOverride first, cut to what a host name may be', () => {
    assert.deepEqual(name({ hostname: 'h', subdomain: 's', hostnameOverride: 'a.b' }), {
      hostname: 'a.b',
      name: 'a.b',
      domain: '',
    });
    assert.equal(name({ hostnameOverride: `${'a'.repeat(62)}.b` }).hostname, 'a'.repeat(62));
    assert.throws(
      () => name({ hostnameOverride: 'Not_a_name' }),
      /^AgentError: pod HostnameOverride "Not_a_name" is not a valid DNS subdomain: a lowercase RFC 1123 subdomain must consist of/,
    );
    assert.throws(() => name({ hostnameOverride: '' }), /is not a valid DNS subdomain/);
  });
  it('are refused with the reason', () => {
    assert.throws(
      () => name({ hostname: 'a.b' }),
      /^AgentError: pod Hostname "a\.b" is not a valid DNS label: must not contain dots$/,
    );
    assert.throws(
      () => name({ subdomain: 'x'.repeat(64) }),
      /^AgentError: pod Subdomain "x+" is not a valid DNS label: must be no more than 63 characters$/,
    );
  });
  it('of both families stand in the hosts file, each on its line', () => {
    assert.match(
      hostsFile(pod(), { hostname: 'web', name: 'web', domain: 'd' }, ['10.1.1.1', 'fd00::1'], ''),
      /\n10\.1\.1\.1\tweb\.d\tweb\nfd00::1\tweb\.d\tweb\n$/,
    );
  });
});

describe('a resolver file', () => {
  it('adds options up, overrules them by name, and drops a search for the root', () => {
    assert.deepEqual(
      parseResolvConf(
        'search . a.example. b\noptions ndots:2 edns0\noptions ndots:3\nnameserver 1.1.1.1\nnameserver\n',
      ),
      {
        servers: ['1.1.1.1'],
        searches: ['a.example', 'b'],
        options: ['ndots:3', 'edns0'],
      },
    );
  });
  it('loses search paths that make resolvers abort, and says so', () => {
    const { config, notices } = podDns(
      pod({ dnsPolicy: 'None', dnsConfig: { nameservers: ['1.1.1.1'], searches: ['x'.repeat(254), 'ok'] } }),
      {
        dns: { clusterDns: [], clusterDomain: 'c', resolvConf: undefined },
        host: parseResolvConf(''),
        hostIps: [],
      },
    );
    assert.deepEqual(config.searches, ['ok']);
    assert.deepEqual(notices, [
      {
        type: 'Warning',
        reason: 'DNSConfigForming',
        message:
          'Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ok',
      },
    ]);
  });
});

describe('a sandbox', () => {
  const of = (p: Pod) =>
    makeSandboxConfig(p, {
      attempt: 0,
      cgroupParent: '/p',
      logDir: '/l',
      dns: { servers: [], searches: [], options: [] },
      hostname: podHostname(p, 'cluster.local'),
      host,
    });
  it('publishes the ports of sidecars, too, each protocol for itself', () => {
    const port = (protocol: string) => ({ containerPort: 1, hostPort: 2, protocol });
    const p = pod({
      initContainers: [
        { name: 'side', restartPolicy: 'Always', ports: [port('SCTP')] },
        { name: 'init', ports: [port('TCP')] },
      ],
      containers: [{ name: 'main', ports: [port('UDP')] }],
    });
    assert.deepEqual(
      of(p).portMappings?.map((m) => m.protocol),
      ['SCTP', 'UDP'],
    );
  });
  it('is told what the runtime itself may use, and no more for a pod without overhead', () => {
    const overhead = of(pod({ overhead: { cpu: '250m', memory: '64Mi' } })).linux?.overhead;
    assert.deepEqual([overhead?.cpuShares, overhead?.memoryLimitInBytes], [256, 2 ** 26]);
    assert.equal(of(pod()).linux?.overhead, undefined);
  });
});

describe('bandwidth', () => {
  const shaped = (text: string, spec: object = {}) =>
    pod(spec, { annotations: { 'kubernetes.io/egress-bandwidth': text } });
  it('is a quantity between a kilobit and a petabit', () => {
    for (const good of ['1k', '10M', '1.5G', '1P']) assertBandwidth(shaped(good));
    assert.throws(() => assertBandwidth(shaped('fast')), /quantities must match the regular expression/);
    assert.throws(() => assertBandwidth(shaped('')), /quantities must match/);
    assert.throws(() => assertBandwidth(shaped('-5M')), /unreasonably small \(< 1kbit\)/);
    assert.throws(() => assertBandwidth(shaped('2P')), /unreasonably large \(> 1Pbit\)/);
    assertBandwidth(shaped('fast', { hostNetwork: true }));
  });
});
