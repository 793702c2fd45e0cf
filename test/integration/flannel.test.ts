import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { eventually, inNs, Lab, labMissing, sh } from './flannel-lab.ts';

const missing = labMissing();
const options = missing ? { skip: missing } : {};
const PREFIX = 'flannel.alpha.coreos.com/';
const routesOf = (ns: string, ...more: string[]) => sh('ip', ...more, '-n', ns, 'route', 'show');

const notRules = (call: string[]) => call[0] !== 'iptables-save';

describe('flannel over vxlan', options, () => {
  const lab = new Lab('vx');
  after(() => lab.close());
  type Agent = Awaited<ReturnType<typeof lab.agent>>;
  let a: Agent;
  let b: Agent;
  let [ipA, ipB] = ['', ''];
  const bothWays = () => lab.ping('a-p1', ipB) && lab.ping('b-p1', ipA);

  it('lets pods of two hosts reach each other', async () => {
    lab.host('a', 1);
    lab.host('b', 2);
    lab.cluster.put('a', ['10.42.1.0/24']);
    lab.cluster.put('b', ['10.42.2.0/24']);
    a = await lab.agent('a');
    b = await lab.agent('b');
    await eventually('both see each other', () => a.flannel.status().peers === 1 && b.flannel.status().peers === 1);
    [ipA = ''] = await lab.pod('a', 'p1', a.paths);
    [ipB = ''] = await lab.pod('b', 'p1', b.paths);
    await eventually('ping', bothWays);
    assert.deepEqual(Object.keys(lab.cluster.get('a')?.metadata.annotations ?? {}).sort(), [
      `${PREFIX}backend-data`,
      `${PREFIX}backend-type`,
      `${PREFIX}kube-subnet-manager`,
      `${PREFIX}public-ip`,
    ]);
    assert.equal(
      await readFile(a.paths.subnetEnv, 'utf8'),
      'FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
    );
  });

  it('writes nothing when nothing changed', async () => {
    await eventually('calm', async () => {
      const before = a.calls.filter(notRules).length;
      await new Promise((resolve) => setTimeout(resolve, 400));
      return a.calls.filter(notRules).length === before;
    });
    const patches = lab.cluster.patches.length;
    const from = a.calls.length;
    lab.cluster.annotate('b', { 'example.com/heartbeat': '1' });
    sh('ip', '-n', lab.ns('a'), 'link', 'set', 'eth0', 'txqueuelen', '900');
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.deepEqual(
      a.calls.slice(from).filter((call) => /-batch|restore|nft/.test(call.join(' ')) && !call.includes('-json')),
      [],
    );
    assert.equal(lab.cluster.patches.length, patches);
  });

  it('rebuilds a deleted device within a second, with the same hardware address', async () => {
    const mac = () =>
      JSON.parse(sh('ip', '-n', lab.ns('a'), '-json', 'link', 'show', 'flannel.1'))[0].address as string;
    const before = mac();
    sh('ip', '-n', lab.ns('a'), 'link', 'del', 'flannel.1');
    const ms = await eventually('route is back', () => routesOf(lab.ns('a')).includes('10.42.2.0/24 via 10.42.2.0'));
    assert.ok(ms < 1_000, `took ${ms} ms`);
    assert.equal(mac(), before);
    await eventually('ping', bothWays);
  });

  it('repairs a route that somebody deleted', async () => {
    sh('ip', '-n', lab.ns('a'), 'route', 'del', '10.42.2.0/24');
    await eventually('route is back', () => routesOf(lab.ns('a')).includes('10.42.2.0/24 via 10.42.2.0'));
  });

  it('follows the host to another address; the peer sees it', async () => {
    lab.address('a', 11);
    await eventually(
      'announced',
      () => lab.cluster.get('a')?.metadata.annotations?.[`${PREFIX}public-ip`] === '10.99.0.11',
    );
    await eventually('ping', bothWays);
    const fdb = sh('bridge', '-n', lab.ns('b'), 'fdb', 'show', 'dev', 'flannel.1');
    assert.match(fdb, /dst 10\.99\.0\.11 /);
    assert.doesNotMatch(fdb, /dst 10\.99\.0\.1 /);
  });

  it('replaces the entries of a peer whose hardware address changed, the old one goes', async () => {
    await a.close();
    const mac = '1e:61:a8:1d:e2:4a';
    const old = lab.cluster.get('a')?.metadata.annotations?.[`${PREFIX}backend-data`] ?? '';
    lab.cluster.annotate('a', { [`${PREFIX}backend-data`]: JSON.stringify({ VNI: 1, VtepMAC: mac }) });
    a = await lab.agent('a'); // keeps the address that the annotations promise
    await eventually('ping', bothWays);
    const entries = sh('bridge', '-n', lab.ns('b'), 'fdb', 'show', 'dev', 'flannel.1');
    assert.match(entries, new RegExp(mac));
    assert.doesNotMatch(entries, new RegExp(JSON.parse(old).VtepMAC));
  });

  it('takes up the device of an earlier run untouched and sweeps leftovers of gone peers', async () => {
    await a.close();
    const ns = lab.ns('a');
    sh('ip', '-n', ns, 'route', 'add', '10.42.77.0/24', 'via', '10.42.77.0', 'dev', 'flannel.1', 'onlink');
    sh(
      'ip',
      '-n',
      ns,
      'neigh',
      'add',
      '10.42.77.0',
      'lladdr',
      '02:00:00:00:00:77',
      'dev',
      'flannel.1',
      'nud',
      'permanent',
    );
    sh(
      'bridge',
      '-n',
      ns,
      'fdb',
      'add',
      '02:00:00:00:00:77',
      'dev',
      'flannel.1',
      'dst',
      '10.99.0.77',
      'self',
      'permanent',
    );
    const index = sh('ip', '-n', ns, '-o', 'link', 'show', 'flannel.1').split(':')[0];
    a = await lab.agent('a');
    await eventually('swept', () => !routesOf(ns).includes('10.42.77.0'));
    assert.doesNotMatch(sh('ip', '-n', ns, 'neigh', 'show'), /10\.42\.77\.0/);
    await eventually('swept', () => !sh('bridge', '-n', ns, 'fdb', 'show').includes('10.99.0.77'));
    assert.equal(sh('ip', '-n', ns, '-o', 'link', 'show', 'flannel.1').split(':')[0], index);
    assert.ok(bothWays());
  });

  it('moves to another podCIDR when the Node is recreated', async () => {
    lab.cluster.remove('a');
    lab.cluster.put('a', ['10.42.5.0/24']);
    await eventually('the kubelet is told', () => a.changes.length === 1);
    assert.deepEqual(a.changes, [{ previous: ['10.42.1.0/24'], current: ['10.42.5.0/24'] }]);
    assert.match(sh('ip', '-n', lab.ns('a'), 'addr', 'show', 'cni0'), /inet 10\.42\.5\.1\/24 brd/);
    assert.doesNotMatch(sh('ip', '-n', lab.ns('a'), 'addr', 'show', 'cni0'), /10\.42\.1\.1/);
    assert.match(sh('ip', '-n', lab.ns('a'), 'addr', 'show', 'flannel.1'), /inet 10\.42\.5\.0\/32/);
    const [fresh = ''] = await lab.pod('a', 'p2', a.paths);
    assert.equal(fresh, '10.42.5.2');
    await eventually('the peer reaches the new pod', () => lab.ping('b-p1', fresh));
    assert.doesNotMatch(routesOf(lab.ns('b')), /10\.42\.1\.0/);
  });

  it('puts flushed rules back and keeps the order of the original', async () => {
    inNs(lab.ns('a'), 'iptables', '-t', 'nat', '-F');
    inNs(lab.ns('a'), 'iptables', '-F', 'FORWARD');
    await eventually('the jump is back', () => inNs(lab.ns('a'), 'iptables', '-S', 'FORWARD').includes('FLANNEL-FWD'));
    const rules = inNs(lab.ns('a'), 'iptables', '-t', 'nat', '-S', 'FLANNEL-POSTRTG').trim().split('\n').slice(1);
    assert.equal(rules.length, 6);
    assert.match(rules[0] ?? '', /--mark 0x4000\/0x4000 .*-j RETURN/);
    assert.match(rules[4] ?? '', /-s 10\.42\.0\.0\/16 ! -d 224\.0\.0\.0\/4 .*MASQUERADE/);
  });

  it('forgets a peer that is gone', async () => {
    lab.cluster.remove('b');
    await eventually('no peer', () => a.flannel.status().peers === 0);
    await eventually('no route', () => !routesOf(lab.ns('a')).includes('flannel.1'));
    assert.doesNotMatch(sh('bridge', '-n', lab.ns('a'), 'fdb', 'show', 'dev', 'flannel.1'), /dst 10\.99\.0\.2/);
  });
});

describe('masquerading', options, () => {
  const lab = new Lab('nat');
  after(() => lab.close());
  /** Without pods' routes on the switch an answer only comes back if the packet left with the host's address. */
  const reachesOutside = (pod: string) => lab.ping(pod, '10.99.0.254');

  it('goes into the legacy tables when the host has its rules there, and clears the other ones', async () => {
    const ns = lab.host('a', 1);
    inNs(ns, 'iptables-legacy', '-P', 'FORWARD', 'DROP');
    inNs(ns, 'iptables-nft', '-t', 'nat', '-N', 'FLANNEL-POSTRTG');
    inNs(ns, 'iptables-nft', '-t', 'nat', '-A', 'POSTROUTING', '-j', 'FLANNEL-POSTRTG');
    lab.cluster.put('a', ['10.42.1.0/24']);
    const a = await lab.agent('a');
    await lab.pod('a', 'p1', a.paths);
    await eventually('ping', () => reachesOutside('a-p1'));
    assert.match(a.flannel.status().netfilter ?? '', /^iptables \(legacy\)/);
    await eventually('old chain gone', () => !inNs(ns, 'iptables-nft-save').includes('FLANNEL'));
  });

  it('uses an nft table of its own where there is no iptables', async () => {
    const ns = lab.host('b', 2);
    lab.cluster.put('b', ['10.42.2.0/24']);
    const b = await lab.agent('b', { hide: /^ip6?tables/ });
    await lab.pod('b', 'p1', b.paths);
    await eventually('ping', () => reachesOutside('b-p1'));
    inNs(ns, 'nft', 'flush', 'chain', 'ip', 'k3s-agent-flannel', 'postrouting');
    await eventually('rules are back', () => inNs(ns, 'nft', 'list', 'ruleset').includes('masquerade'));
  });

  it('says so when there is neither', async () => {
    lab.host('c', 3);
    lab.cluster.put('c', ['10.42.3.0/24']);
    const c = await lab.agent('c', { hide: /^(ip6?tables|nft)/ });
    await eventually('error', () => /neither iptables nor/.test(c.flannel.status().lastError ?? ''));
    await eventually('the tunnel is there all the same', () =>
      sh('ip', '-n', lab.ns('c'), 'link').includes('flannel.1'),
    );
  });
});

describe('flannel in dual stack', options, () => {
  const lab = new Lab('ds');
  after(() => lab.close());

  it('carries both families, each by its own device', async () => {
    const clusterCidrs = ['10.42.0.0/16', 'fd00:42::/56'];
    lab.host('a', 1);
    lab.host('b', 2);
    lab.cluster.put('a', ['10.42.1.0/24', 'fd00:42:0:1::/64']);
    lab.cluster.put('b', ['10.42.2.0/24', 'fd00:42:0:2::/64']);
    const a = await lab.agent('a', { clusterCidrs });
    const b = await lab.agent('b', { clusterCidrs });
    await eventually('peers', () => a.flannel.status().peers === 1 && b.flannel.status().peers === 1);
    await lab.pod('a', 'p1', a.paths);
    const ips = await lab.pod('b', 'p1', b.paths);
    assert.deepEqual(ips, ['10.42.2.2', 'fd00:42:0:2::2']);
    for (const ip of ips) await eventually(`ping ${ip}`, () => lab.ping('a-p1', ip));
    assert.match(sh('ip', '-n', lab.ns('a'), '-d', 'link', 'show', 'flannel-v6.1'), /local fd00:99::1 dev eth0/);
    assert.equal(a.flannel.status().lastError, undefined);
    // Only one family of the peer changes; both are announced, or peers of the original would not look.
    const data = () => lab.cluster.get('b')?.metadata.annotations?.[`${PREFIX}backend-data`];
    const before = data();
    sh('ip', '-n', lab.ns('b'), 'address', 'del', 'fd00:99::2/64', 'dev', 'eth0');
    sh('ip', '-n', lab.ns('b'), 'address', 'add', 'fd00:99::22/64', 'dev', 'eth0', 'nodad');
    await eventually('IPv6 follows', () => lab.ping('a-p1', 'fd00:42:0:2::2'));
    assert.match(sh('bridge', '-n', lab.ns('a'), 'fdb', 'show', 'dev', 'flannel-v6.1'), /dst fd00:99::22 /);
    assert.notEqual(data(), before);
    await eventually('IPv4 goes on', () => lab.ping('a-p1', '10.42.2.2'));
  });
});

describe('flannel with IPv6 only', options, () => {
  const lab = new Lab('v6');
  after(() => lab.close());

  it('needs no IPv4 default route', async () => {
    const clusterCidrs = ['fd00:42::/56'];
    for (const [i, name] of ['a', 'b'].entries()) {
      lab.host(name, i + 1);
      sh('ip', '-n', lab.ns(name), 'route', 'del', 'default');
      sh('ip', '-n', lab.ns(name), '-6', 'route', 'add', 'default', 'via', 'fd00:99::fe', 'dev', 'eth0');
      lab.cluster.put(name, [`fd00:42:0:${i + 1}::/64`]);
    }
    const a = await lab.agent('a', { clusterCidrs });
    const b = await lab.agent('b', { clusterCidrs });
    await eventually('peers', () => a.flannel.status().peers === 1 && b.flannel.status().peers === 1);
    await lab.pod('a', 'p1', a.paths);
    const [ip = ''] = await lab.pod('b', 'p1', b.paths);
    await eventually('ping', () => lab.ping('a-p1', ip));
  });
});

describe('flannel with host-gw', options, () => {
  const lab = new Lab('gw');
  after(() => lab.close());

  it('routes by the peer itself, without a tunnel device; one left over goes', async () => {
    for (const [i, name] of ['a', 'b'].entries()) {
      lab.host(name, i + 1);
      lab.cluster.put(name, [`10.42.${i + 1}.0/24`]);
    }
    sh('ip', '-n', lab.ns('a'), 'link', 'add', 'flannel.1', 'type', 'vxlan', 'id', '1', 'dstport', '0');
    sh('ip', '-n', lab.ns('a'), 'route', 'add', '10.42.9.0/24', 'via', '10.99.0.9');
    const a = await lab.agent('a', { backend: 'host-gw' });
    const b = await lab.agent('b', { backend: 'host-gw' });
    await eventually('peers', () => a.flannel.status().peers === 1 && b.flannel.status().peers === 1);
    await lab.pod('a', 'p1', a.paths);
    const [ip = ''] = await lab.pod('b', 'p1', b.paths);
    await eventually('ping', () => lab.ping('a-p1', ip));
    assert.match(routesOf(lab.ns('a')), /10\.42\.2\.0\/24 via 10\.99\.0\.2 dev eth0/);
    assert.doesNotMatch(routesOf(lab.ns('a')), /10\.42\.9\.0/);
    assert.doesNotMatch(sh('ip', '-n', lab.ns('a'), 'link', 'show'), /flannel\.1/);
    assert.equal(a.flannel.status().mtu, 1500);
    assert.equal(lab.cluster.get('a')?.metadata.annotations?.[`${PREFIX}backend-data`], 'null');
  });
});

describe('a host without an uplink', options, () => {
  const lab = new Lab('up');
  after(() => lab.close());

  it('gets its CNI files at once and its tunnel when the default route comes', async () => {
    lab.host('a', 1);
    sh('ip', '-n', lab.ns('a'), 'route', 'del', 'default');
    const a = await lab.agent('a');
    await eventually('it says what it waits for', () => a.flannel.status().waiting === 'there is no default route');
    lab.cluster.put('a', ['10.42.1.0/24']);
    await eventually('conflist', async () => (await readFile(a.paths.conflist, 'utf8')).includes('10.42.1.0/24'));
    sh('ip', '-n', lab.ns('a'), 'route', 'add', 'default', 'via', '10.99.0.254');
    await eventually('tunnel', () => sh('ip', '-n', lab.ns('a'), 'link').includes('flannel.1'));
    await eventually(
      'announced',
      () => lab.cluster.get('a')?.metadata.annotations?.[`${PREFIX}public-ip`] === '10.99.0.1',
    );
    assert.equal(a.flannel.status().waiting, undefined);
  });
});
