import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { BUSYBOX } from './cri-support.ts';
import { createPodLab, type PodLab, podLabMissing } from './pod-lab.ts';

const skip = await podLabMissing({ network: true });
if (skip) console.log(`skipped: ${skip}`);
const own = { hostNetwork: false };

/** Names, addresses and ports of pods (upstream test/e2e/common/node/{kubelet_etc_hosts,sysctl}.go, network/{dns,hostport}.go). */
describe('the network of a pod', { skip: skip ?? false, timeout: 180_000 }, () => {
  let lab: PodLab;
  before(async () => {
    lab = await createPodLab('net', { network: true, materials: { allowedUnsafeSysctls: ['net.core.somaxconn'] } });
  });
  after(() => lab?.end());

  const ipOf = (name: string) => lab.api.get(name)?.status?.podIP as string;

  it('hosts file, host name and resolver of a pod with a subdomain', async () => {
    lab.put('n-names', {
      spec: {
        ...own,
        hostname: 'web',
        subdomain: 'svc',
        hostAliases: [
          { ip: '10.9.9.9', hostnames: ['one', 'two'] },
          { ip: '10.9.9.8', hostnames: ['three'] },
        ],
        dnsConfig: { searches: ['a.example'], options: [{ name: 'ndots', value: '2' }, { name: 'edns0' }] },
      },
    });
    await lab.ready('n-names');
    const text = (await lab.sh('n-names', 'cat /etc/hosts; echo .')).slice(0, -1);
    assert.equal(
      text,
      `# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
${ipOf('n-names')}\tweb.svc.default.svc.cluster.local\tweb

# Entries added by HostAliases.
10.9.9.9\tone\ttwo
10.9.9.8\tthree
`,
    );
    const file = join(lab.kubeletDir, 'pods', lab.api.get('n-names')?.metadata.uid as string, 'etc-hosts');
    assert.equal((await stat(file)).mode & 0o777, 0o644);
    assert.equal(await lab.sh('n-names', 'busybox hostname'), 'web');
    assert.equal(
      await lab.sh('n-names', 'cat /etc/resolv.conf'),
      'search default.svc.cluster.local svc.cluster.local cluster.local a.example\nnameserver 10.43.0.10\noptions ndots:2 edns0',
    );
    await lab.remove('n-names');
  });

  it('full names, names of their own, and one too long for the kernel', async () => {
    lab.put('n-full', { spec: { ...own, hostname: 'h', subdomain: 's', setHostnameAsFQDN: true } });
    lab.put('n-override', { spec: { ...own, hostname: 'h', hostnameOverride: 'over.example.com' } });
    lab.put('n-long', { spec: { ...own, hostname: 'h'.repeat(50), subdomain: 's', setHostnameAsFQDN: true } });
    await lab.ready('n-full');
    await lab.ready('n-override');
    assert.equal(await lab.sh('n-full', 'busybox hostname'), 'h.s.default.svc.cluster.local');
    assert.equal(await lab.sh('n-override', 'busybox hostname'), 'over.example.com');
    assert.match(await lab.sh('n-override', 'cat /etc/hosts'), /\tover\.example\.com$/);
    const full = `${'h'.repeat(50)}.s.default.svc.cluster.local`;
    assert.equal(
      await lab.event('n-long', 'FailedCreatePodSandBox'),
      `Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (64 characters is the max, ${full.length} characters requested)`,
    );
    await lab.remove('n-full', 'n-override', 'n-long');
  });

  it('a pod on the host’s network has the host’s name, addresses and hosts file', async () => {
    lab.put('n-host', { spec: { hostname: 'ignored', hostAliases: [{ ip: '10.9.9.9', hostnames: ['one'] }] } });
    lab.put('n-mount', {
      container: { volumeMounts: [{ name: 'hosts', mountPath: '/etc/hosts' }] },
      spec: { ...own, volumes: [{ name: 'hosts', hostPath: { path: '/etc/hosts', type: 'File' } }] },
    });
    await lab.ready('n-host');
    await lab.ready('n-mount');
    const hosts = await readFile('/etc/hosts', 'utf8');
    const { podIP, podIPs, hostIP, hostIPs } = lab.api.get('n-host')?.status ?? {};
    assert.deepEqual([podIP, hostIP, podIPs, hostIPs], ['10.0.0.9', '10.0.0.9', [{ ip: podIP }], [{ ip: podIP }]]);
    assert.notEqual(await lab.sh('n-host', 'busybox hostname'), 'ignored');
    assert.equal(
      (await lab.sh('n-host', 'cat /etc/hosts; echo .')).slice(0, -1),
      `# Kubernetes-managed hosts file (host network).\n${hosts}\n# Entries added by HostAliases.\n10.9.9.9\tone\n`,
    );
    assert.equal(await lab.sh('n-mount', 'cat /etc/hosts'), hosts.trim());
    await lab.remove('n-host', 'n-mount');
  });

  it('host ports: by address and protocol, gone with the pod, refused when taken', async () => {
    const ports = (list: object[], script?: string) => ({
      container: { ports: list },
      spec: own,
      ...(script && { script }),
    });
    const serve = (text: string) =>
      `while true; do echo ${text} | busybox nc -l -p 80; done & while true; do echo ${text} | busybox nc -u -l -p 53 -w 1; done`;
    const ask = (address: string, port: number) =>
      lab.onHost('busybox', 'nc', '-w', '2', address, String(port)).out.trim();
    lab.onHost('ip', 'addr', 'add', '10.77.0.1/32', 'dev', 'lo');
    lab.onHost('ip', 'addr', 'add', '10.77.0.2/32', 'dev', 'lo');
    const tcp = (hostIP: string) => ({ containerPort: 80, hostPort: 8080, hostIP, protocol: 'TCP' });
    lab.put('p-one', ports([tcp('10.77.0.1')], serve('one')));
    lab.put('p-two', ports([tcp('10.77.0.2')], serve('two')));
    lab.put(
      'p-udp',
      ports([{ containerPort: 53, hostPort: 8080, hostIP: '10.77.0.1', protocol: 'UDP' }], serve('udp')),
    );
    for (const name of ['p-one', 'p-two', 'p-udp']) await lab.ready(name);
    assert.equal(ask('10.77.0.1', 8080), 'one');
    assert.equal(ask('10.77.0.2', 8080), 'two');
    assert.match(lab.onHost('iptables-save', '-t', 'nat').out, /-p udp .*--dport 8080 .*DNAT --to-destination \S+:53/);
    lab.put('p-same', ports([tcp('10.77.0.1')]));
    assert.equal(
      await lab.event('p-same', 'NodePorts'),
      "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    );
    await lab.remove('p-one', 'p-two', 'p-udp', 'p-same');
    assert.doesNotMatch(lab.onHost('iptables-save', '-t', 'nat').out, /--to-destination/);
  });

  it('sysctls: safe ones and those the node allows, in both spellings', async () => {
    lab.put('y-set', {
      spec: own,
      podSecurity: {
        sysctls: [
          { name: 'kernel.shm_rmid_forced', value: '1' },
          { name: 'net/ipv4/ip_unprivileged_port_start', value: '80' },
          { name: 'net.core.somaxconn', value: '99' },
        ],
      },
    });
    await lab.ready('y-set');
    assert.equal(
      await lab.sh(
        'y-set',
        'cd /proc/sys; cat kernel/shm_rmid_forced net/ipv4/ip_unprivileged_port_start net/core/somaxconn',
      ),
      '1\n80\n99',
    );
    await lab.remove('y-set');
  });

  it('bandwidth: shaped by the annotations, refused when they make no sense', async () => {
    const rate = (text: string) => ({
      spec: own,
      annotations: { 'kubernetes.io/ingress-bandwidth': text, 'kubernetes.io/egress-bandwidth': text },
    });
    lab.put('b-good', rate('8M'));
    lab.put('b-bad', rate('quick'));
    lab.put('b-tiny', rate('1'));
    await lab.ready('b-good');
    const shaped = lab.onHost('tc', 'qdisc', 'show').out;
    if (!/not found|No such file/.test(shaped)) assert.match(shaped, /tbf .*rate 8Mbit/);
    assert.match(
      await lab.event('b-bad', 'FailedCreatePodSandBox'),
      /^Failed to create pod sandbox: reading pod bandwidth annotations: quantities must match the regular expression/,
    );
    assert.match(await lab.event('b-tiny', 'FailedCreatePodSandBox'), /resource is unreasonably small \(< 1kbit\)/);
    await lab.remove('b-good', 'b-bad', 'b-tiny');
  });

  it('a RuntimeClass whose handler the runtime does not know, and more than resolvers take', async () => {
    lab.put('k-handler', { spec: { ...own, runtimeClassName: 'nosuch' } });
    lab.put('k-dns', { spec: { ...own, dnsConfig: { nameservers: ['1.1.1.1', '1.1.1.2', '1.1.1.3'] } } });
    await lab.ready('k-dns');
    assert.match(
      await lab.event('k-handler', 'FailedCreatePodSandBox'),
      /^Failed to create pod sandbox: rpc error: code = Unknown desc = .*no runtime for "nosuch" is configured$/,
    );
    assert.equal(
      await lab.event('k-dns', 'DNSConfigForming'),
      'Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 10.43.0.10 1.1.1.1 1.1.1.2',
    );
    assert.doesNotMatch(await lab.sh('k-dns', 'cat /etc/resolv.conf'), /1\.1\.1\.3/);
    await lab.remove('k-handler', 'k-dns');
  });

  it('the environment knows the addresses', async () => {
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const env = [field('A', 'status.podIPs'), field('B', 'status.hostIPs'), field('C', 'status.podIP')];
    lab.put('e-fields', { spec: own, container: { env, image: BUSYBOX } });
    await lab.ready('e-fields');
    const ip = ipOf('e-fields');
    assert.equal(await lab.sh('e-fields', 'echo $A $B $C'), `${ip} 10.0.0.9 ${ip}`);
    assert.match(ip, /^10\.244\.77\./);
    await lab.remove('e-fields');
  });
});
