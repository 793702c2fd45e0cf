import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCidr } from '../../../src/core/index.ts';
import { diffBridge, diffDatapath } from '../../../src/flannel/diff.ts';
import type { Lease } from '../../../src/flannel/lease.ts';
import type { NetConf } from '../../../src/flannel/net-conf.ts';
import { type Datapath, planDatapath, podMtu } from '../../../src/flannel/plan.ts';
import type { Uplink } from '../../../src/flannel/uplink.ts';
import type { Link, NetworkState } from '../../../src/host/index.ts';

const network = parseCidr('10.42.0.0/16');
const vxlan: NetConf = {
  networks: { 4: network },
  backend: { type: 'vxlan', vni: 1, port: 0, mtu: 0, directRouting: false },
};
const uplink: Uplink = {
  dev: 'eth0',
  mtu: 1500,
  addresses: { 4: '10.99.0.1' },
  onLink: [{ family: 4, address: '10.99.0.1', prefix: 24 }],
};
const subnets = { 4: parseCidr('10.42.1.0/24') };
const macs = { 4: '02:00:00:00:00:01' };
const context = { networks: { 4: network }, uplinkDev: 'eth0', sweep: true };

function peer(node: string, k: number, more: { mac?: string; ip?: string; backend?: string } = {}): Lease {
  const { mac = `02:00:00:00:00:0${k}`, ip = `10.99.0.${k}`, backend = 'vxlan' } = more;
  return {
    node,
    backend,
    families: { 4: { subnet: parseCidr(`10.42.${k}.0/24`), publicIp: ip, vtepMac: mac, vni: 1 } },
  };
}

const plan = (leases: Lease[], conf = vxlan): Datapath =>
  planDatapath({ nodeName: 'n1', conf, subnets, macs, uplink, leases });

function link(name: string, more: Partial<Link> = {}): Link {
  return {
    index: 1,
    name,
    kind: undefined,
    mtu: 1500,
    mac: undefined,
    up: true,
    master: undefined,
    vxlan: undefined,
    addresses: [],
    ...more,
  };
}

const nothing = (): NetworkState => ({ links: new Map(), routes: [], neighbours: [], fdb: [] });

/** The kernel after the plan was applied. */
function applied(datapath: Datapath): NetworkState {
  const state = nothing();
  for (const d of datapath.devices)
    state.links.set(
      d.name,
      link(d.name, {
        kind: 'vxlan',
        mtu: d.mtu,
        mac: d.mac,
        vxlan: { id: d.vni, port: 8472, local: d.local, link: d.link, learning: false, gbp: false },
        addresses: [address(d.address, 32)],
      }),
    );
  state.fdb.push(...datapath.fdb);
  state.neighbours.push(...datapath.neighbours);
  for (const r of datapath.routes)
    state.routes.push({ ...r, protocol: 'boot', metric: r.family === 4 ? 0 : 1024, dead: false });
  return state;
}

function address(text: string, prefix: number) {
  return {
    family: 4 as const,
    address: text,
    prefix,
    scope: 'global',
    dynamic: false,
    temporary: false,
    deprecated: false,
    dadFailed: false,
  };
}

describe('the datapath', () => {
  it('is laid out as flannel does it', () => {
    const steps = diffDatapath(nothing(), plan([peer('n2', 2)]), context);
    assert.deepEqual(steps.ip, [
      'link add name flannel.1 address 02:00:00:00:00:01 mtu 1450 type vxlan id 1 local 10.99.0.1 dev eth0 dstport 0 nolearning',
      'address replace 10.42.1.0/32 dev flannel.1',
      'link set dev flannel.1 up',
      'neighbour replace 10.42.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent',
      'route replace 10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink',
    ]);
    assert.deepEqual(steps.bridge, ['fdb replace 02:00:00:00:00:02 dev flannel.1 dst 10.99.0.2 self permanent']);
  });

  it('needs no step when it is there', () => {
    const wanted = plan([peer('n2', 2), peer('n3', 3)]);
    const { ip, bridge } = diffDatapath(applied(wanted), wanted, context);
    assert.deepEqual([ip, bridge], [[], []]);
  });

  it('changes only what a moved peer needs, and drops its old entries', () => {
    const before = applied(plan([peer('n2', 2), peer('n3', 3)]));
    const moved = plan([peer('n2', 2, { mac: '02:00:00:00:00:99', ip: '10.99.0.88' }), peer('n3', 3)]);
    const steps = diffDatapath(before, moved, context);
    assert.deepEqual(steps.ip, ['neighbour replace 10.42.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent']);
    assert.deepEqual(steps.bridge, [
      'fdb del 02:00:00:00:00:02 dev flannel.1 dst 10.99.0.2 self',
      'fdb replace 02:00:00:00:00:99 dev flannel.1 dst 10.99.0.88 self permanent',
    ]);
  });

  it('removes nothing before the list of nodes is complete', () => {
    const before = applied(plan([peer('n2', 2)]));
    assert.deepEqual(diffDatapath(before, plan([]), { ...context, sweep: false }), { ip: [], bridge: [], made: [] });
    assert.equal(diffDatapath(before, plan([]), context).ip.length, 2);
  });

  it('fills a device anew after it is remade or gets another hardware address', () => {
    const wanted = plan([peer('n2', 2)]);
    const other = applied(wanted);
    (other.links.get('flannel.1') as Link).vxlan = {
      id: 1,
      port: 8472,
      local: '10.99.0.77',
      link: 'eth0',
      learning: false,
      gbp: false,
    };
    const remade = diffDatapath(other, wanted, context);
    assert.equal(remade.ip[0], 'link del dev flannel.1');
    assert.equal(remade.made[0]?.why, 'its local address was 10.99.0.77');
    assert.equal(remade.ip.length + remade.bridge.length, 7);
    const mac = applied(wanted);
    (mac.links.get('flannel.1') as Link).mac = '02:00:00:00:00:55';
    assert.deepEqual(diffDatapath(mac, wanted, context).ip, [
      'link set dev flannel.1 address 02:00:00:00:00:01',
      'neighbour replace 10.42.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent',
    ]);
  });

  it('leaves foreign routes alone', () => {
    const state = applied(plan([]));
    const route = { family: 4 as const, gateway: '10.99.0.9', dev: 'eth0', metric: 0, onlink: false, dead: false };
    state.routes.push({ ...route, dst: '192.168.7.0/24', protocol: 'static' });
    state.routes.push({ ...route, dst: '10.42.9.0/24', protocol: 'bgp' });
    state.routes.push({ ...route, dst: '10.42.0.0/16', protocol: 'boot' });
    assert.deepEqual(diffDatapath(state, plan([]), context).ip, []);
  });

  it('names peers it can not serve', () => {
    const far = peer('n4', 4, { ip: '192.0.2.4', backend: 'host-gw' });
    const gw: NetConf = { ...vxlan, backend: { type: 'host-gw' } };
    const { issues, routes } = plan([far, peer('n2', 2, { backend: 'host-gw' })], gw);
    assert.deepEqual(routes, [{ family: 4, dst: '10.42.2.0/24', gateway: '10.99.0.2', dev: 'eth0', onlink: false }]);
    assert.deepEqual(issues, ['node n4 (192.0.2.4) is not on the network of eth0, as host-gw needs']);
    assert.match(plan([peer('n2', 1)]).issues[0] ?? '', /overlaps the subnet of this node/);
    assert.match(plan([peer('n2', 2), peer('n3', 2)]).issues[0] ?? '', /another node/);
    assert.match(plan([peer('n2', 2, { backend: 'wireguard' })]).issues[0] ?? '', /uses the backend wireguard/);
  });

  it('routes near peers directly when asked to', () => {
    const direct: NetConf = { ...vxlan, backend: { type: 'vxlan', vni: 1, port: 0, mtu: 0, directRouting: true } };
    const { routes } = plan([peer('n2', 2), peer('n3', 3, { ip: '192.0.2.3' })], direct);
    assert.deepEqual(
      routes.map((r) => [r.gateway, r.dev]),
      [
        ['10.99.0.2', 'eth0'],
        ['10.42.3.0', 'flannel.1'],
      ],
    );
  });

  it('leaves room for the headers', () => {
    assert.equal(podMtu(vxlan.backend, 1500, 4), 1450);
    assert.equal(podMtu(vxlan.backend, 1500, 6), 1430);
    assert.equal(podMtu({ type: 'vxlan', vni: 1, port: 0, mtu: 1400, directRouting: false }, 1500, 4), 1350);
    assert.equal(podMtu({ type: 'host-gw' }, 1500, 4), 1500);
  });
});

describe('cni0 after the subnet changed', () => {
  const wanted = { 4: parseCidr('10.42.5.0/24') };
  const state = (ports: string[]) => {
    const s = nothing();
    s.links.set('cni0', link('cni0', { kind: 'bridge', addresses: [address('10.42.1.1', 24)] }));
    for (const name of ports) s.links.set(name, link(name, { kind: 'veth', master: 'cni0' }));
    return s;
  };
  it('goes when no pod uses it', () => {
    assert.deepEqual(diffBridge(state([]), wanted, ['10.42.5.1/24']), ['link del dev cni0']);
  });
  it('gets the new gateway address when pods do', () => {
    assert.deepEqual(diffBridge(state(['veth1']), wanted, ['10.42.5.1/24']), [
      'address del 10.42.1.1/24 dev cni0',
      'address replace 10.42.5.1/24 dev cni0 brd +',
    ]);
  });
  it('stays when it is right', () => {
    assert.deepEqual(diffBridge(state([]), { 4: parseCidr('10.42.1.0/24') }, ['10.42.1.1/24']), []);
  });
});
