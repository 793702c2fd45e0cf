import { addressAt, type Cidr, type Family, formatCidr, networkAddress, parseCidr } from '../core/index.ts';

export type Subnets = Partial<Record<Family, Cidr>>;

export interface ConflistQuestion {
  subnets: Subnets;
  networks: Subnets;
  mtu: number;
  /** Names of the plugins in the CNI folder; undefined if unknown. */
  plugins?: ReadonlySet<string>;
}

/** Gateway of each own subnet with its prefix length: the address of cni0. */
export function gatewaysOf(subnets: Subnets): string[] {
  return present(subnets).map((cidr) => `${addressAt(cidr, 1)}/${cidr.prefix}`);
}

/**
 * The conflist that gives the same pod network as k3s's own, without the flannel plugin: what that plugin would tell
 * bridge is written here. 0.4.0 is the newest version that plugins 0.8 and the libcni of containerd 1.6 to 2.x all know.
 */
export function conflistText({ subnets, networks, mtu, plugins }: ConflistQuestion): string {
  const conflist = {
    name: 'cbr0',
    cniVersion: '0.4.0',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        isDefaultGateway: true,
        hairpinMode: true,
        forceAddress: true,
        ipMasq: false,
        mtu,
        ipam: {
          type: 'host-local',
          ranges: present(subnets).map((cidr) => [{ subnet: formatCidr(cidr) }]),
          routes: present(networks)
            .filter((cidr) => subnets[cidr.family] !== undefined)
            .map((cidr) => ({ dst: formatCidr(cidr) })),
        },
      },
      ...(plugins === undefined || plugins.has('portmap')
        ? [{ type: 'portmap', capabilities: { portMappings: true } }]
        : []),
      ...(plugins?.has('bandwidth') ? [{ type: 'bandwidth', capabilities: { bandwidth: true } }] : []),
    ],
  };
  return `${JSON.stringify(conflist, null, 2)}\n`;
}

/** `/run/flannel/subnet.env`, as flannel pkg/subnet/subnet.go writes it. */
export function subnetEnvText({ subnets, networks, mtu }: Omit<ConflistQuestion, 'plugins'>): string {
  const lines: string[] = [];
  for (const [family, prefix] of [
    [4, 'FLANNEL_'],
    [6, 'FLANNEL_IPV6_'],
  ] as const) {
    const [network, subnet] = [networks[family], subnets[family]];
    if (network === undefined || subnet === undefined) continue;
    lines.push(`${prefix}NETWORK=${formatCidr(network)}`);
    lines.push(`${prefix}SUBNET=${addressAt(subnet, 1)}/${subnet.prefix}`);
  }
  return `${[...lines, `FLANNEL_MTU=${mtu}`, 'FLANNEL_IPMASQ=true'].join('\n')}\n`;
}

/** What an earlier run (or the original) left in subnet.env: its subnets' gateways and MTU. */
export function parseSubnetEnv(text: string | undefined): { gateways: string[]; mtu: number | undefined } {
  const value = (key: string) => new RegExp(`^${key}=(\\S+)$`, 'm').exec(text ?? '')?.[1];
  const mtu = Number(value('FLANNEL_MTU'));
  return {
    gateways: [value('FLANNEL_SUBNET'), value('FLANNEL_IPV6_SUBNET')].filter((x) => x !== undefined),
    mtu: mtu >= 576 && mtu <= 65_535 ? mtu : undefined,
  };
}

/** `10.42.1.1/24` → `10.42.1.0/24` */
export function blockOf(gateway: string): string {
  try {
    const cidr = parseCidr(gateway);
    return `${networkAddress(cidr)}/${cidr.prefix}`;
  } catch {
    return gateway;
  }
}

function present(blocks: Subnets): Cidr[] {
  return [blocks[4], blocks[6]].filter((cidr) => cidr !== undefined);
}
