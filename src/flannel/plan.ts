import { type Cidr, cidrContains, type Family, formatCidr } from '../core/index.ts';
import type { FdbEntry, Neighbour } from '../host/index.ts';
import { type Lease, overlaps } from './lease.ts';
import type { Backend, NetConf } from './net-conf.ts';
import type { Uplink } from './uplink.ts';

export interface TunnelDevice {
  name: string;
  family: Family;
  vni: number;
  /** 0: the kernel's default. */
  port: number;
  mac: string;
  local: string;
  link: string;
  mtu: number;
  /** Network address of the own subnet. */
  address: string;
}

export interface PeerRoute {
  family: Family;
  dst: string;
  gateway: string;
  dev: string;
  onlink: boolean;
}

/** What the kernel must hold for the pods of all nodes to reach each other. */
export interface Datapath {
  devices: TunnelDevice[];
  neighbours: Neighbour[];
  fdb: FdbEntry[];
  routes: PeerRoute[];
  /** Peers in use. */
  peers: number;
  /** Peers that can't be served, and why; one line each. */
  issues: string[];
}

export interface DatapathQuestion {
  nodeName: string;
  conf: NetConf;
  subnets: Partial<Record<Family, Cidr>>;
  macs: Partial<Record<Family, string>>;
  uplink: Uplink;
  leases: readonly Lease[];
}

/** VXLAN, UDP, IP and Ethernet headers around each packet. */
const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

export function tunnelName(family: Family, vni: number): string {
  return family === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
}

/** MTU inside the tunnel. flannel takes 50 bytes for both families; IPv6's header needs 20 more. */
export function podMtu(backend: Backend, linkMtu: number, family: Family): number {
  if (backend.type === 'host-gw') return linkMtu;
  return Math.min(backend.mtu || linkMtu, linkMtu) - OVERHEAD[family];
}

/** Layout per peer as in flannel pkg/backend/vxlan and pkg/backend/hostgw, so that both understand each other. */
export function planDatapath(question: DatapathQuestion): Datapath {
  const { nodeName, conf, subnets, uplink, macs } = question;
  const { backend } = conf;
  const out: Datapath = { devices: [], neighbours: [], fdb: [], routes: [], peers: 0, issues: [] };
  const families = ([4, 6] as const).filter((f) => conf.networks[f] && subnets[f] && uplink.addresses[f]);
  if (backend.type === 'vxlan')
    for (const family of families) {
      const mac = macs[family];
      const subnet = subnets[family];
      const local = uplink.addresses[family];
      if (mac === undefined || subnet === undefined || local === undefined) continue;
      const { vni, port } = backend;
      const mtu = podMtu(backend, uplink.mtu, family);
      const name = tunnelName(family, vni);
      out.devices.push({ name, family, vni, port, mac, local, link: uplink.dev, mtu, address: subnet.address });
    }
  const taken = new Set<string>();
  for (const lease of [...question.leases].sort((a, b) => (a.node < b.node ? -1 : 1))) {
    if (lease.node === nodeName) continue;
    if (lease.backend !== backend.type) {
      out.issues.push(`node ${lease.node} uses the backend ${lease.backend.slice(0, 20)}, this one ${backend.type}`);
      continue;
    }
    let used = false;
    for (const family of families) {
      const peer = lease.families[family];
      const own = subnets[family];
      if (peer === undefined || own === undefined) continue;
      const why = refusal({ peer: peer.subnet, own, network: conf.networks[family] as Cidr, taken });
      if (why !== undefined) {
        out.issues.push(`node ${lease.node}: ${formatCidr(peer.subnet)} ${why}`);
        continue;
      }
      const near = uplink.onLink.some((net) => net.family === family && cidrContains(net, peer.publicIp));
      const dst = formatCidr(peer.subnet);
      if (backend.type === 'host-gw' || (backend.directRouting && near)) {
        if (!near) {
          out.issues.push(
            `node ${lease.node} (${peer.publicIp}) is not on the network of ${uplink.dev}, as host-gw needs`,
          );
          continue;
        }
        out.routes.push({ family, dst, gateway: peer.publicIp, dev: uplink.dev, onlink: false });
      } else {
        if (peer.vtepMac === undefined) {
          out.issues.push(`node ${lease.node} announces no VXLAN hardware address`);
          continue;
        }
        const dev = tunnelName(family, backend.vni);
        out.neighbours.push({ dev, address: peer.subnet.address, mac: peer.vtepMac });
        out.fdb.push({ dev, mac: peer.vtepMac, dst: peer.publicIp });
        out.routes.push({ family, dst, gateway: peer.subnet.address, dev, onlink: true });
      }
      taken.add(dst);
      used = true;
    }
    if (used) out.peers++;
  }
  return out;
}

function refusal(blocks: { peer: Cidr; own: Cidr; network: Cidr; taken: ReadonlySet<string> }): string | undefined {
  const { peer, own, network, taken } = blocks;
  if (peer.prefix < network.prefix || !cidrContains(network, peer.address)) return 'is outside the cluster network';
  if (overlaps(peer, own)) return 'overlaps the subnet of this node';
  return taken.has(formatCidr(peer)) ? 'is the subnet of another node, too' : undefined;
}
