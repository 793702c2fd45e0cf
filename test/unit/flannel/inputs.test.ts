import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseCidr } from '../../../src/core/index.ts';
import { annotationPatch, unnoticedFamily, vtepMac } from '../../../src/flannel/annotations.ts';
import { conflistText, parseSubnetEnv, subnetEnvText } from '../../../src/flannel/cni-files.ts';
import { leaseOf, subnetsOf, trimNode } from '../../../src/flannel/lease.ts';
import { netConfText, parseNetConf } from '../../../src/flannel/net-conf.ts';
import { chooseUplink } from '../../../src/flannel/uplink.ts';
import type { Link, LinkAddress, NetworkState, Route } from '../../../src/host/index.ts';

const P = 'flannel.alpha.coreos.com/';

describe('a lease', () => {
  const annotations = {
    [`${P}backend-type`]: 'vxlan',
    [`${P}kube-subnet-manager`]: 'true',
    [`${P}public-ip`]: '10.99.0.2',
    [`${P}backend-data`]: '{"VNI":1,"VtepMAC":"1E:61:a8:1d:e2:4a"}',
  };
  it('is read from podCIDR and annotations', () => {
    const lease = leaseOf({ metadata: { name: 'n1', annotations }, spec: { podCIDR: '10.42.1.0/24' } });
    assert.deepEqual(lease?.families[4], {
      subnet: { family: 4, address: '10.42.1.0', prefix: 24 },
      publicIp: '10.99.0.2',
      vtepMac: '1e:61:a8:1d:e2:4a',
      vni: 1,
    });
  });
  it('is none without the subnet manager annotation or a podCIDR', () => {
    assert.equal(leaseOf({ metadata: { name: 'n1', annotations } }), undefined);
    assert.equal(
      leaseOf({
        metadata: { name: 'n1', annotations: { ...annotations, [`${P}kube-subnet-manager`]: 'no' } },
        spec: { podCIDR: '10.42.1.0/24' },
      }),
      undefined,
    );
  });
  it('never throws and never lets through what is no address', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.constantFrom('10.42.1.0/24; reboot', '{"VtepMAC":5}', '{"VtepMAC":"ff:ff:ff:ff:ff:ff"}', 'null', '[]'),
    );
    fc.assert(
      fc.property(
        fc.array(hostile, { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...Object.keys(annotations)), hostile),
        (podCIDRs, bad) => {
          const node = { metadata: { name: 'x', annotations: { ...annotations, ...bad } }, spec: { podCIDRs } };
          const lease = leaseOf(trimNode(node));
          for (const part of Object.values(lease?.families ?? {})) {
            assert.match(
              `${part.subnet.address}/${part.subnet.prefix} ${part.publicIp} ${part.vtepMac ?? ''}`,
              /^[0-9a-f.:/ ]+$/,
            );
            assert.notEqual(part.vtepMac, 'ff:ff:ff:ff:ff:ff');
          }
        },
      ),
    );
  });
  it('takes the network address of each family', () => {
    assert.deepEqual(
      Object.values(subnetsOf({ metadata: {}, spec: { podCIDRs: ['10.42.1.7/24', 'fd00:42::9/64', 'x'] } })).map(
        (c) => c.address,
      ),
      ['10.42.1.0', 'fd00:42::'],
    );
  });
});

describe('the own annotations', () => {
  const question = {
    backend: { type: 'vxlan', vni: 1, port: 0, mtu: 0, directRouting: false } as const,
    current: {},
    addresses: { 4: '10.99.0.2' },
    macs: { 4: '1e:61:a8:1d:e2:4a' },
    externalIp: false,
    nodeExternalIps: ['203.0.113.9'],
  };
  it('are those of the original and are not written twice', () => {
    const patch = annotationPatch(question);
    assert.deepEqual(patch, {
      [`${P}backend-type`]: 'vxlan',
      [`${P}kube-subnet-manager`]: 'true',
      [`${P}public-ip`]: '10.99.0.2',
      [`${P}backend-data`]: '{"VNI":1,"VtepMAC":"1e:61:a8:1d:e2:4a"}',
    });
    assert.equal(annotationPatch({ ...question, current: patch as Record<string, string> }), undefined);
  });
  it('announce the external address when the server asks for it, and take it back', () => {
    const patch = annotationPatch({ ...question, externalIp: true });
    assert.equal(patch?.[`${P}public-ip`], '203.0.113.9');
    assert.equal(patch?.[`${P}public-ip-overwrite`], '203.0.113.9');
    const back = annotationPatch({ ...question, current: patch as Record<string, string> });
    assert.deepEqual(back, { [`${P}public-ip`]: '10.99.0.2', [`${P}public-ip-overwrite`]: null });
  });
  it('name the family that hides a change of the other from peers of the original', () => {
    const both = {
      ...question,
      addresses: { 4: '10.99.0.2', 6: 'fd00::2' },
      macs: { 4: '02:00:00:00:00:04', 6: '02:00:00:00:00:06' },
    };
    const current = annotationPatch(both) as Record<string, string>;
    assert.equal(unnoticedFamily(current, both), undefined); // the first announcement holds both
    const moved = { ...both, current, addresses: { ...both.addresses, 4: '10.99.0.3' } };
    assert.equal(unnoticedFamily(annotationPatch(moved) ?? {}, moved), 6);
    const healed = { ...moved, macs: { ...both.macs, 6: '02:00:00:00:00:66' } };
    assert.equal(unnoticedFamily(annotationPatch(healed) ?? {}, healed), undefined);
  });
  it('keep the hardware address that peers know; a new one is local and unicast', () => {
    const annotations = { [`${P}backend-data`]: '{"VNI":1,"VtepMAC":"1e:61:a8:1d:e2:4a"}' };
    const of = (a: object, existing?: string) =>
      vtepMac({
        annotations: a as Record<string, string>,
        family: 4,
        existing,
        randomBytes: (n) => new Uint8Array(n).fill(0xff),
      });
    assert.equal(of(annotations, '02:00:00:00:00:01'), '1e:61:a8:1d:e2:4a');
    assert.equal(of({}, '02:00:00:00:00:01'), '02:00:00:00:00:01');
    assert.equal(of({}), 'fe:ff:ff:ff:ff:ff');
  });
});

describe('net-conf.json', () => {
  it('is written as k3s does and read back', () => {
    const text = netConfText({ backend: 'vxlan', clusterCidrs: ['10.42.0.0/16'] });
    assert.deepEqual(JSON.parse(text), {
      Network: '10.42.0.0/16',
      EnableIPv6: false,
      EnableIPv4: true,
      IPv6Network: '::/0',
      Backend: { Type: 'vxlan' },
    });
    assert.deepEqual(parseNetConf(text, 'f').networks, { 4: parseCidr('10.42.0.0/16') });
  });
  it('takes VNI and port of the user, keys in any case', () => {
    const { backend } = parseNetConf('{"network":"10.0.0.0/8","BACKEND":{"type":"vxlan","VNI":7,"Port":4789}}', 'f');
    assert.deepEqual(backend, { type: 'vxlan', vni: 7, port: 4789, mtu: 0, directRouting: false });
  });
  it('names what is wrong', () => {
    const wrong = (text: string) => {
      try {
        parseNetConf(text, 'f');
        return 'nothing';
      } catch (error) {
        return (error as Error).message;
      }
    };
    assert.equal(wrong('{'), 'f: is not JSON');
    assert.equal(wrong('{"Network":"10.0.0/8"}'), 'f: "network" must be an IPv4 block');
    assert.match(wrong('{"Network":"10.0.0.0/8","Backend":{"Type":"wireguard"}}'), /"wireguard" is not supported/);
    assert.match(wrong('{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan","VNI":-1}}'), /"vni" must be a whole number/);
    fc.assert(fc.property(fc.json(), (json) => wrong(json) !== ''));
  });
});

describe('the uplink', () => {
  const address = (text: string, more: Partial<LinkAddress> = {}): LinkAddress => ({
    family: text.includes(':') ? 6 : 4,
    address: text,
    prefix: 24,
    scope: 'global',
    dynamic: false,
    temporary: false,
    deprecated: false,
    dadFailed: false,
    ...more,
  });
  const link = (name: string, addresses: LinkAddress[]): [string, Link] => [
    name,
    {
      index: 1,
      name,
      kind: undefined,
      mtu: 1500,
      mac: undefined,
      up: true,
      master: undefined,
      vxlan: undefined,
      addresses,
    },
  ];
  const route = (dev: string, metric: number, more: Partial<Route> = {}): Route => ({
    family: 4,
    dst: '0.0.0.0/0',
    gateway: '10.0.0.1',
    dev,
    protocol: 'dhcp',
    metric,
    onlink: false,
    dead: false,
    ...more,
  });
  const state = (routes: Route[]): NetworkState => ({
    links: new Map([
      link('eth0', [
        address('169.254.3.4'),
        address('10.0.0.9', { dynamic: true }),
        address('10.0.0.2'),
        address('fe80::1'),
        address('2001:db8::5', { temporary: true }),
        address('2001:db8::6', { dynamic: true }),
      ]),
      link('wwan0', [address('100.64.0.7')]),
    ]),
    routes,
    neighbours: [],
    fdb: [],
  });
  const ask = (routes: Route[], more: object = {}) =>
    chooseUplink({ state: state(routes), families: [4, 6], iface: undefined, nodeIps: [], ...more });

  it('is the best default route that carries packets, its address the most lasting one', () => {
    const up = ask([route('wwan0', 700), route('eth0', 100)]);
    assert.deepEqual(typeof up === 'object' && [up.dev, up.addresses], ['eth0', { 4: '10.0.0.2', 6: '2001:db8::5' }]);
    const lte = ask([route('eth0', 100, { dead: true }), route('wwan0', 700)]);
    assert.equal(typeof lte === 'object' && lte.dev, 'wwan0');
  });
  it('stays on its address and route while others are only as good', () => {
    const current = { dev: 'wwan0', mtu: 1500, addresses: { 4: '10.0.0.9' as string }, onLink: [] };
    const stays = ask([route('eth0', 100), route('wwan0', 100)], { current });
    assert.equal(typeof stays === 'object' && stays.dev, 'wwan0');
    const better = ask([route('eth0', 50), route('wwan0', 100)], { current });
    assert.deepEqual(typeof better === 'object' && [better.dev, better.addresses[4]], ['eth0', '10.0.0.2']);
  });
  it('is the chosen interface, by name or address', () => {
    for (const iface of ['wwan0', '100.64.0.7']) {
      const up = ask([route('eth0', 100)], { iface });
      assert.equal(typeof up === 'object' && up.dev, 'wwan0');
    }
    assert.equal(ask([], { iface: 'eth7' }), 'the interface eth7 does not exist');
  });
  it('is the one with the node IP on an island without a router', () => {
    assert.equal(ask([]), 'there is no default route');
    const up = ask([], { nodeIps: ['10.0.0.2'] });
    assert.equal(typeof up === 'object' && up.dev, 'eth0');
  });
});

describe('the CNI files', () => {
  const question = {
    subnets: { 4: parseCidr('10.42.1.0/24'), 6: parseCidr('fd00:42:0:1::/64') },
    networks: { 4: parseCidr('10.42.0.0/16'), 6: parseCidr('fd00:42::/56') },
    mtu: 1450,
  };
  it('need no flannel plugin', () => {
    const { name, cniVersion, plugins } = JSON.parse(conflistText(question));
    assert.deepEqual(
      [name, cniVersion, plugins.map((p: { type: string }) => p.type)],
      ['cbr0', '0.4.0', ['bridge', 'portmap']],
    );
    assert.deepEqual(plugins[0].ipam, {
      type: 'host-local',
      ranges: [[{ subnet: '10.42.1.0/24' }], [{ subnet: 'fd00:42:0:1::/64' }]],
      routes: [{ dst: '10.42.0.0/16' }, { dst: 'fd00:42::/56' }],
    });
    const all = JSON.parse(
      conflistText({ ...question, plugins: new Set(['bridge', 'host-local', 'portmap', 'bandwidth']) }),
    );
    assert.equal(all.plugins[2].type, 'bandwidth');
  });
  it('tell the next run what this one had', () => {
    assert.deepEqual(parseSubnetEnv(subnetEnvText(question)), {
      gateways: ['10.42.1.1/24', 'fd00:42:0:1::1/64'],
      mtu: 1450,
    });
    assert.deepEqual(parseSubnetEnv('garbage'), { gateways: [], mtu: undefined });
  });
});
