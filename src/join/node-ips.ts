import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { type Cidr, type Family, familyOf, isGlobalUnicast } from '../core/index.ts';
import { readText } from '../host/index.ts';
import { JoinFailure } from './failure.ts';

/** What the choice of node addresses looks at. */
export interface NetworkFacts {
  /** /proc/net/route. */
  readonly routes4: string;
  /** /proc/net/ipv6_route; empty where the kernel has no IPv6. */
  readonly routes6: string;
  readonly interfaces: Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, 'address'>[] | undefined>>;
}

/** Read from /proc instead of by ip(8): no process start on the way to the first request. */
export async function networkFacts(): Promise<NetworkFacts> {
  const [routes4, routes6] = await Promise.all([readText('/proc/net/route'), readText('/proc/net/ipv6_route')]);
  return { routes4: routes4 ?? '', routes6: routes6 ?? '', interfaces: networkInterfaces() };
}

/**
 * The node's addresses: `--node-ip`; else those of `--flannel-iface` (k3s pkg/util GetIPFromInterface: exactly one
 * global IPv4, and the first global IPv6); else the first global address of the default-route interface, IPv4 first,
 * with the IPv6 one behind it. Throws JoinFailure.
 */
export function chooseNodeIps(
  options: { nodeIps: readonly string[]; flannelIface: string | undefined },
  facts: NetworkFacts,
): string[] {
  if (options.nodeIps.length > 0) return [...options.nodeIps];
  if (options.flannelIface !== undefined) return ofInterface(options.flannelIface, facts);
  const found = [...byDefaultRoute(4, facts), ...byDefaultRoute(6, facts)];
  if (found.length > 0) return found;
  throw new JoinFailure({
    step: 'tcp',
    message: 'this board has no address on an interface with a default route',
    remedy: 'plug in the network, or give the address to use with --node-ip',
  });
}

function ofInterface(name: string, facts: NetworkFacts): string[] {
  const v4 = addresses(name, 4, facts);
  const v6 = addresses(name, 6, facts);
  if (v4.length > 1)
    throw new JoinFailure({
      step: 'config',
      message: `the interface ${name} of --flannel-iface has several addresses: ${v4.join(', ')}`,
      remedy: 'say with --node-ip which one to use',
    });
  const ips = [...v4, ...v6.slice(0, 1)];
  if (ips.length > 0) return ips;
  throw new JoinFailure({
    step: name in facts.interfaces ? 'tcp' : 'config',
    message: `the interface ${name} of --flannel-iface has no usable address`,
    remedy: `check the name and whether the interface is up: ip address show ${name}`,
  });
}

function byDefaultRoute(family: Family, facts: NetworkFacts): string[] {
  const routes = family === 4 ? defaults4(facts.routes4) : defaults6(facts.routes6);
  routes.sort((a, b) => a.metric - b.metric);
  for (const { device } of routes) {
    const first = addresses(device, family, facts)[0];
    if (first !== undefined) return [first];
  }
  return [];
}

function addresses(device: string, family: Family, facts: NetworkFacts): string[] {
  return (facts.interfaces[device] ?? [])
    .map((info) => info.address)
    .filter((address) => familyOf(address) === family && isGlobalUnicast(address));
}

interface Default {
  device: string;
  metric: number;
}

function defaults4(text: string): Default[] {
  return text
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter((f) => f[1] === '00000000' && f[7] === '00000000' && (Number.parseInt(f[3] ?? '0', 16) & 1) === 1)
    .map((f) => ({ device: f[0]!, metric: Number(f[6]) || 0 }));
}

function defaults6(text: string): Default[] {
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((f) => /^0{32}$/.test(f[0] ?? '') && f[1] === '00' && f[9] !== undefined && f[9] !== 'lo')
    .map((f) => ({ device: f[9]!, metric: Number.parseInt(f[5] ?? '0', 16) || 0 }));
}

/** Puts an address of the pods' first family first, as k3s does when there are several. */
export function orderNodeIps(ips: readonly string[], podCidrs: readonly Cidr[]): string[] {
  const [first, second, ...rest] = ips;
  const family = podCidrs[0]?.family;
  if (first === undefined || second === undefined || family === undefined || familyOf(first) === family)
    return [...ips];
  return [second, first, ...rest];
}
