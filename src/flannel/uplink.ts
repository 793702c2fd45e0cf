import { type Family, familyOf, isGlobalUnicast, sameAddress } from '../core/index.ts';
import type { Link, LinkAddress, NetworkState } from '../host/index.ts';

/** The interface by which other nodes are reached. */
export interface Uplink {
  dev: string;
  mtu: number;
  addresses: Partial<Record<Family, string>>;
  /** Its networks, to tell which peers are on the same wire. */
  onLink: { address: string; prefix: number; family: Family }[];
}

export interface UplinkQuestion {
  state: NetworkState;
  families: readonly Family[];
  iface: string | undefined;
  nodeIps: readonly string[];
  /** The one in use: it stays as long as nothing is better. */
  current?: Uplink | undefined;
}

/**
 * The link of `--flannel-iface`, else of the best default route (IPv4 unless the cluster is IPv6 only), else, on an
 * island without a router, the one that holds a node IP. A text says what is missing. Source: k3s
 * pkg/agent/flannel/flannel.go LookupExtInterface.
 */
export function chooseUplink(question: UplinkQuestion): Uplink | string {
  const { state, families, iface } = question;
  const link = iface === undefined ? byRoute(question) : byName(state, iface);
  if (link === undefined)
    return iface === undefined ? 'there is no default route' : `the interface ${iface} does not exist`;
  if (link.mtu === 0) return `the interface ${link.name} has no MTU`;
  const uplink: Uplink = { dev: link.name, mtu: link.mtu, addresses: {}, onLink: link.addresses };
  for (const family of families) {
    const best = bestAddress(link.addresses, family, question.current?.addresses[family]);
    if (best !== undefined) uplink.addresses[family] = best.address;
  }
  if (Object.keys(uplink.addresses).length === 0) return `the interface ${link.name} has no address`;
  return uplink;
}

function byName(state: NetworkState, iface: string): Link | undefined {
  if (familyOf(iface) === undefined) return state.links.get(iface);
  return [...state.links.values()].find((link) => link.addresses.some((a) => sameAddress(a.address, iface)));
}

function byRoute({ state, families, nodeIps, current }: UplinkQuestion): Link | undefined {
  const dst = families.includes(4) ? '0.0.0.0/0' : '::/0';
  const routes = state.routes.filter((route) => route.dst === dst && !route.dead && state.links.has(route.dev));
  // The kernel lists equal metrics in the order in which it uses them, and sort is stable.
  const [first] = routes.sort((a, b) => a.metric - b.metric);
  const best = routes.find((route) => route.dev === current?.dev && route.metric === first?.metric) ?? first;
  if (best !== undefined) return state.links.get(best.dev);
  for (const ip of nodeIps) {
    const link = byName(state, ip);
    if (link?.up && familyOf(ip) !== undefined) return link;
  }
  return undefined;
}

/**
 * flannel pkg/ip/iface.go: global before link-local, permanent before dynamic, lasting before temporary. Among equals
 * the one in use: each router advertisement may reorder them, and a change remakes the tunnel.
 */
function bestAddress(
  addresses: readonly LinkAddress[],
  family: Family,
  current: string | undefined,
): LinkAddress | undefined {
  const rank = (a: LinkAddress) =>
    (isGlobalUnicast(a.address) ? 0 : 8) +
    (a.dynamic ? 4 : 0) +
    (a.temporary ? 2 : 0) +
    (a.address === current ? 0 : 1);
  return addresses
    .filter((a) => a.family === family && !a.deprecated && !a.dadFailed && a.scope !== 'host')
    .sort((a, b) => rank(a) - rank(b))[0];
}
