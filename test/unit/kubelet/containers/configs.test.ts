import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import {
  type AnyContainer,
  type ContainerContext,
  containerHash,
  hostsFile,
  makeContainerConfig,
  makeSandboxConfig,
  oomScoreAdj,
  parseResolvConf,
  planMounts,
  podDns,
  podHostname,
  qosClassOf,
  type ResourceHost,
} from '../../../../src/kubelet/containers/index.ts';

const host: ResourceHost = {
  cgroupVersion: 2,
  memoryCapacity: 2 ** 30,
  cpuCfsQuota: true,
  swapController: true,
  swapBytes: 0,
  singleProcessOomKill: false,
  hugepageUnits: ['2MB', '1GB'],
};
const makePod = (spec: object = {}, metadata: object = {}): Pod =>
  ({
    metadata: {
      name: 'web',
      namespace: 'ns',
      uid: 'u-1',
      labels: { app: 'x' },
      annotations: { note: 'n' },
      ...metadata,
    },
    spec: { containers: [{ name: 'main', image: 'img:1' }], securityContext: {}, ...spec },
  }) as unknown as Pod;

function configOf(pod: Pod, extra: Partial<ContainerContext> = {}) {
  return makeContainerConfig({
    pod,
    container: pod.spec.containers[0] as AnyContainer,
    restartCount: 0,
    image: { ref: 'sha256:abc' },
    environment: new Map([['A', 'v']]),
    mounts: [],
    host,
    security: { seccompRoot: '/var/lib/kubelet/seccomp', seccompDefault: false },
    ...extra,
  });
}
const withContainer = (container: object, spec: object = {}) =>
  makePod({ containers: [{ name: 'main', image: 'img:1', ...container }], ...spec });
const securityOf = (securityContext: object, spec: object = {}, extra: Partial<ContainerContext> = {}) =>
  configOf(withContainer({ securityContext }, spec), extra).linux?.securityContext;
const sandboxOf = (pod: Pod) =>
  makeSandboxConfig(pod, {
    attempt: 1,
    cgroupParent: '/kubepods/podu-1',
    logDir: '/var/log/pods',
    dns: { servers: [], searches: [], options: [] },
    hostname: podHostname(pod, 'cluster.local'),
    host,
  });

describe('a container configuration', () => {
  it('carries the labels and annotations that upstream tools look for', () => {
    const pod = withContainer(
      { ports: [{ containerPort: 80 }], lifecycle: { preStop: { exec: { command: ['x'] } } }, args: ['$(A)', '$(B)'] },
      { terminationGracePeriodSeconds: 7 },
    );
    const config = configOf(pod, { restartCount: 3 });
    assert.deepEqual(config.labels, {
      'io.kubernetes.pod.name': 'web',
      'io.kubernetes.pod.namespace': 'ns',
      'io.kubernetes.pod.uid': 'u-1',
      'io.kubernetes.container.name': 'main',
    });
    assert.deepEqual(config.annotations, {
      'io.kubernetes.container.hash': containerHash({ name: 'main', image: 'img:1' }),
      'io.kubernetes.container.restartCount': '3',
      'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
      'io.kubernetes.container.terminationMessagePolicy': 'File',
      'io.kubernetes.pod.terminationGracePeriod': '7',
      'io.kubernetes.container.preStopHandler': '{"exec":{"command":["x"]}}',
      'io.kubernetes.container.ports': '[{"containerPort":80}]',
    });
    assert.deepEqual([config.logPath, config.metadata], ['main/3.log', { name: 'main', attempt: 3 }]);
    assert.deepEqual(config.args, ['v', '$(B)']);
    assert.equal(config.command, undefined);
  });

  it('keeps its hash unless the image changes', () => {
    const hash = containerHash({ name: 'main', image: 'img:1' });
    assert.equal(hash, containerHash({ image: 'img:1', name: 'main' }));
    assert.notEqual(hash, containerHash({ name: 'main', image: 'img:2' }));
    // As a 1.36 agent wrote it.
    assert.equal(containerHash({ name: 'main', image: 'docker.io/library/busybox:latest' }), '85580d84');
  });

  it('has its bounds in the terms of the runtime', () => {
    const limits = { cpu: '500m', memory: '64Mi', 'hugepages-2Mi': '4Mi' };
    assert.deepEqual(configOf(withContainer({ resources: { limits } })).linux?.resources, {
      cpuShares: 512,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      memoryLimitInBytes: 2 ** 26,
      oomScoreAdj: -997,
      hugepageLimits: [
        { pageSize: '2MB', limit: 2 ** 22 },
        { pageSize: '1GB', limit: 0 },
      ],
      unified: { 'memory.oom.group': '1', 'memory.swap.max': '0' },
    });
    const old = configOf(withContainer({ resources: { limits: { memory: '64Mi' } } }), {
      host: { ...host, cgroupVersion: 1, cpuCfsQuota: false, hugepageUnits: [] },
    }).linux?.resources;
    assert.deepEqual(old, {
      cpuShares: 2,
      memoryLimitInBytes: 2 ** 26,
      memorySwapLimitInBytes: 2 ** 26,
      oomScoreAdj: 938,
      hugepageLimits: [],
    });
  });

  it('puts the container security context over that of the pod', () => {
    const sc = securityOf(
      {
        runAsUser: 5,
        capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        procMount: 'Unmasked',
      },
      {
        hostPID: true,
        securityContext: {
          runAsUser: 1,
          runAsGroup: 2,
          fsGroup: 3,
          supplementalGroups: [4],
          seLinuxOptions: { level: 's0' },
        },
      },
    );
    assert.deepEqual(sc, {
      runAsUser: { value: 5 },
      runAsGroup: { value: 2 },
      capabilities: { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'] },
      privileged: false,
      readonlyRootfs: true,
      noNewPrivs: true,
      namespaceOptions: { network: 'POD', ipc: 'POD', pid: 'NODE' },
      supplementalGroups: [3, 4],
      seccomp: { profileType: 'Unconfined' },
      selinuxOptions: { level: 's0' },
      maskedPaths: [],
      readonlyPaths: [],
    });
  });

  it('takes the user of the image unless told otherwise', () => {
    assert.deepEqual(securityOf({})?.runAsUser, { value: 0 });
    assert.deepEqual(securityOf({}, {}, { image: { ref: 'x', uid: 7 } })?.runAsUser, { value: 7 });
    const named = securityOf({}, {}, { image: { ref: 'x', username: 'bob' } });
    assert.deepEqual([named?.runAsUser, named?.runAsUsername], [undefined, 'bob']);
  });

  it('refuses root where root must not be', () => {
    const where = '\\(pod: "web_ns\\(u-1\\)", container: main\\)$';
    const refuses = (sc: object, image: object, text: string) =>
      assert.throws(
        () => securityOf(sc, {}, { image: { ref: 'x', ...image } }),
        new RegExp(`^AgentError: ${text} ${where}`),
      );
    refuses({ runAsNonRoot: true }, {}, 'container has runAsNonRoot and image will run as root');
    refuses({ runAsNonRoot: true }, { uid: 0 }, 'container has runAsNonRoot and image will run as root');
    refuses(
      { runAsNonRoot: true },
      { username: 'bob' },
      'container has runAsNonRoot and image has non-numeric user \\(bob\\), cannot verify user is non-root',
    );
    refuses({ runAsNonRoot: true, runAsUser: 0 }, {}, "container's runAsUser breaks non-root policy");
    assert.ok(securityOf({ runAsNonRoot: true }, {}, { image: { ref: 'x', uid: 7 } }));
    assert.ok(securityOf({ runAsNonRoot: true, runAsUser: 9 }));
  });

  it('finds seccomp and apparmor profiles', () => {
    const seccomp = (profile: object, options = false) =>
      securityOf({ seccompProfile: profile }, {}, { security: { seccompRoot: '/s', seccompDefault: options } })
        ?.seccomp;
    assert.deepEqual(seccomp({ type: 'RuntimeDefault' }), { profileType: 'RuntimeDefault' });
    assert.deepEqual(seccomp({ type: 'Localhost', localhostProfile: 'a/b.json' }), {
      profileType: 'Localhost',
      localhostRef: '/s/a/b.json',
    });
    assert.throws(() => seccomp({ type: 'Localhost', localhostProfile: '../../etc/x' }), /is outside of \/s/);
    assert.equal(
      securityOf({}, {}, { security: { seccompRoot: '/s', seccompDefault: true } })?.seccomp?.profileType,
      'RuntimeDefault',
    );
    const old = makePod({}, { annotations: { 'container.apparmor.security.beta.kubernetes.io/main': 'localhost/p' } });
    assert.deepEqual(configOf(old).linux?.securityContext?.apparmor, { profileType: 'Localhost', localhostRef: 'p' });
  });

  it('shares namespaces as told', () => {
    const target = securityOf({}, {}, { targetContainerId: 'abc' })?.namespaceOptions;
    assert.deepEqual(target, { network: 'POD', ipc: 'POD', pid: 'TARGET', targetId: 'abc' });
    assert.equal(securityOf({}, { shareProcessNamespace: true })?.namespaceOptions?.pid, 'POD');
  });
});

describe('QoS', () => {
  const of = (...resources: object[]) =>
    makePod({ containers: resources.map((r, i) => ({ name: `c${i}`, resources: r })) });
  it('classes follow requests and limits', () => {
    const both = { cpu: '1', memory: '1Mi' };
    assert.equal(qosClassOf(of({})), 'BestEffort');
    assert.equal(qosClassOf(of({ limits: both })), 'Guaranteed');
    assert.equal(qosClassOf(of({ limits: both, requests: { cpu: '1000m', memory: '1024Ki' } })), 'Guaranteed');
    assert.equal(qosClassOf(of({ limits: both }, {})), 'Burstable');
    assert.equal(qosClassOf(of({ limits: { cpu: '1' } })), 'Burstable');
    assert.equal(qosClassOf(of({ requests: { cpu: '0' } })), 'BestEffort');
  });
  it('scores spare who asked for memory', () => {
    const score = (p: Pod) => oomScoreAdj(p, p.spec.containers[0] as AnyContainer, 2 ** 30);
    assert.equal(score(of({})), 1000);
    assert.equal(score(of({ requests: { cpu: '1' } })), 999);
    assert.equal(score(of({ requests: { memory: '512Mi' } })), 500);
    assert.equal(score(of({ requests: { memory: '8Gi' } })), 3);
    const critical = makePod({ priority: 2_000_001_000, priorityClassName: 'system-node-critical' });
    assert.equal(score(critical), -997);
  });
});

describe('a sandbox configuration', () => {
  it('names the pod, its cgroup, its logs and its ports', () => {
    const pod = withContainer({
      ports: [{ containerPort: 80, hostPort: 8080, hostIP: '1.1.1.1' }, { containerPort: 9 }],
      securityContext: { privileged: true },
    });
    const config = sandboxOf(pod);
    assert.deepEqual(config.metadata, { name: 'web', uid: 'u-1', namespace: 'ns', attempt: 1 });
    assert.equal(config.logDirectory, '/var/log/pods/ns_web_u-1');
    assert.equal(config.hostname, 'web');
    assert.deepEqual(config.portMappings, [{ protocol: 'TCP', containerPort: 80, hostPort: 8080, hostIp: '1.1.1.1' }]);
    assert.equal(config.labels?.app, 'x');
    assert.equal(config.annotations?.note, 'n');
    assert.equal(config.linux?.cgroupParent, '/kubepods/podu-1');
    assert.equal(config.linux?.securityContext?.privileged, true);
  });

  it('leaves name and ports of the host alone on its network', () => {
    const config = sandboxOf(withContainer({ ports: [{ containerPort: 80, hostPort: 80 }] }, { hostNetwork: true }));
    assert.deepEqual([config.hostname, config.portMappings], [undefined, undefined]);
    assert.equal(config.linux?.securityContext?.namespaceOptions?.network, 'NODE');
  });

  it('carries sysctls in one spelling', () => {
    const sysctls = [
      { name: 'net/ipv4/conf/eth0.1/forwarding', value: '1' },
      { name: 'kernel.shm_rmid_forced', value: '0' },
    ];
    assert.deepEqual(sandboxOf(makePod({ securityContext: { sysctls } })).linux?.sysctls, {
      'net.ipv4.conf.eth0/1.forwarding': '1',
      'kernel.shm_rmid_forced': '0',
    });
  });
});

describe('names and addresses', () => {
  it('of a pod follow hostname, subdomain and FQDN wishes', () => {
    const of = (spec: object, name = 'web') => podHostname(makePod(spec, { name }), 'cluster.local');
    assert.deepEqual(of({}), { hostname: 'web', name: 'web', domain: '' });
    assert.deepEqual(of({ hostname: 'h', subdomain: 's' }), {
      hostname: 'h',
      name: 'h',
      domain: 's.ns.svc.cluster.local',
    });
    assert.equal(of({ hostname: 'h', subdomain: 's', setHostnameAsFQDN: true }).hostname, 'h.s.ns.svc.cluster.local');
    assert.equal(of({}, `${'a'.repeat(62)}.-b`).hostname, 'a'.repeat(62));
    assert.throws(
      () => of({ hostname: 'h'.repeat(50), subdomain: 's', setHostnameAsFQDN: true }),
      /FQDN h+\.s\.ns\.svc\.cluster\.local is too long \(64 characters is the max, 73 characters requested\)/,
    );
    assert.throws(() => of({ hostname: 'Not_Valid' }), /is not a valid DNS label/);
  });

  it('on the host network are those of the host', () => {
    const pod = makePod({ hostNetwork: true, hostAliases: [{ ip: '1.1.1.1', hostnames: ['x'] }] });
    assert.equal(
      hostsFile(pod, { hostname: 'n', name: 'n', domain: '' }, ['10.0.0.1'], '127.0.0.1 localhost\n'),
      '# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n# Entries added by HostAliases.\n1.1.1.1\tx\n',
    );
  });

  const resolv = 'nameserver 9.9.9.9\nnameserver 8.8.8.8\n# c\nsearch a.example. b.example\noptions ndots:2\n';
  const dns = (spec: object, clusterDns = ['10.43.0.10'], resolvConf: string | undefined = '/etc/resolv.conf') =>
    podDns(makePod(spec), {
      dns: { clusterDns, clusterDomain: 'cluster.local', resolvConf },
      host: parseResolvConf(resolv),
      hostIps: ['10.0.0.1'],
    });

  it('are looked up where the policy says', () => {
    const cluster = {
      servers: ['10.43.0.10'],
      searches: ['ns.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'a.example', 'b.example'],
      options: ['ndots:5'],
    };
    const own = { servers: ['9.9.9.9', '8.8.8.8'], searches: ['a.example', 'b.example'], options: ['ndots:2'] };
    assert.deepEqual(dns({}).config, cluster);
    assert.deepEqual(dns({ hostNetwork: true }).config, own);
    assert.deepEqual(dns({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' }).config, cluster);
    assert.deepEqual(dns({ dnsPolicy: 'Default' }).config, own);
    assert.deepEqual(
      dns({
        dnsPolicy: 'None',
        dnsConfig: { nameservers: ['1.1.1.1'], options: [{ name: 'ndots', value: '1' }, { name: 'edns0' }] },
      }).config,
      { servers: ['1.1.1.1'], searches: [], options: ['ndots:1', 'edns0'] },
    );
    assert.equal(dns({}, []).notices[0]?.reason, 'MissingClusterDNS');
    assert.deepEqual(dns({}, []).config, own);
    assert.deepEqual(dns({ dnsPolicy: 'Default' }, [], '').config, {
      servers: ['127.0.0.1'],
      searches: ['.'],
      options: [],
    });
  });

  it('stay within what resolvers take', () => {
    const searches = Array.from({ length: 40 }, (_, i) => `${'x'.repeat(60)}${i}.example`);
    const { config, notices } = dns({ dnsConfig: { nameservers: ['1.1.1.1', '2.2.2.2', '3.3.3.3'], searches } });
    assert.equal(config.servers.length, 3);
    assert.ok(config.searches.length <= 32 && config.searches.join(' ').length <= 2048);
    assert.deepEqual(
      notices.map((n) => n.reason),
      ['DNSConfigForming', 'DNSConfigForming'],
    );
    assert.match(
      notices[0]?.message ?? '',
      /^Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 10\.43\.0\.10 1\.1\.1\.1 2\.2\.2\.2$/,
    );
  });
});

describe('mounts', () => {
  const volumes = new Map([['v', { hostPath: '/h', readOnly: false, selinuxRelabel: true, trusted: false }]]);
  const plan = (mount: object, recursiveReadOnly = false) =>
    planMounts({ name: 'c', volumeMounts: [{ name: 'v', mountPath: '/m', ...mount }] } as AnyContainer, volumes, {
      environment: new Map([
        ['A', 'a'],
        ['UP', '..'],
      ]),
      recursiveReadOnly,
    })[0];
  it('are checked before anything is touched', () => {
    assert.equal(plan({ subPathExpr: 'x/$(A)' })?.subPath, 'x/a');
    assert.equal(plan({ mountPath: 'rel' })?.containerPath, '/rel');
    assert.equal(plan({ mountPropagation: 'Bidirectional' })?.propagation, 'PROPAGATION_BIDIRECTIONAL');
    assert.equal(plan({ readOnly: true, recursiveReadOnly: 'IfPossible' }, true)?.recursiveReadOnly, true);
    assert.throws(() => plan({ name: 'w' }), /cannot find volume "w" to mount into container "c"/);
    assert.throws(() => plan({ subPath: 'a/../../b' }), /must not contain '\.\.'/);
    assert.throws(() => plan({ subPathExpr: '$(UP)/x' }), /must not contain '\.\.'/);
    assert.throws(() => plan({ subPath: '/abs' }), /must not be an absolute path/);
    assert.throws(() => plan({ subPathExpr: '$(NONE)' }), /missing value for "NONE"/);
    assert.throws(() => plan({ readOnly: true, recursiveReadOnly: 'Enabled' }), /not supported by the runtime/);
  });
});
