import {
  type Cidr,
  cidrContains,
  type Family,
  familyOf,
  formatCidr,
  networkAddress,
  normalizeAddress,
  parseCidr,
} from '../core/index.ts';
import type { FlannelNode } from './options.ts';

export const PREFIX = 'flannel.alpha.coreos.com/';

/** Annotation names of one address family. */
export const KEYS: Readonly<Record<Family, { data: string; publicIp: string; overwrite: string }>> = {
  4: { data: `${PREFIX}backend-data`, publicIp: `${PREFIX}public-ip`, overwrite: `${PREFIX}public-ip-overwrite` },
  6: {
    data: `${PREFIX}backend-v6-data`,
    publicIp: `${PREFIX}public-ipv6`,
    overwrite: `${PREFIX}public-ipv6-overwrite`,
  },
};

export interface FamilyLease {
  subnet: Cidr;
  /** Where the node receives tunnel packets, or the gateway of its subnet. */
  publicIp: string;
  /** VXLAN only. */
  vtepMac: string | undefined;
  vni: number | undefined;
}

/** A node that takes part in flannel: what its podCIDRs and annotations say. */
export interface Lease {
  node: string;
  backend: string;
  families: Partial<Record<Family, FamilyLease>>;
}

/** The node's own blocks from the Node object, network address first; malformed ones are left out. */
export function subnetsOf(node: FlannelNode | undefined): Partial<Record<Family, Cidr>> {
  const out: Partial<Record<Family, Cidr>> = {};
  const texts = node?.spec?.podCIDRs?.length ? node.spec.podCIDRs : [node?.spec?.podCIDR];
  for (const text of texts) {
    const cidr = tryCidr(text);
    if (cidr !== undefined) out[cidr.family] ??= cidr;
  }
  return out;
}

/** The node's blocks that lie in the cluster's networks; `issue` names one that does not. */
export function acceptedSubnets(
  node: FlannelNode,
  networks: Partial<Record<Family, Cidr>>,
): { subnets: Partial<Record<Family, Cidr>>; issue: string | undefined } {
  const subnets: Partial<Record<Family, Cidr>> = {};
  let issue: string | undefined;
  for (const cidr of Object.values(subnetsOf(node))) {
    const network = networks[cidr.family];
    if (network === undefined) continue;
    if (cidr.prefix >= network.prefix && cidrContains(network, cidr.address)) subnets[cidr.family] = cidr;
    else issue = `the podCIDR ${formatCidr(cidr)} of this node is not in the cluster network ${formatCidr(network)}`;
  }
  return { subnets, issue };
}

/**
 * Undefined for nodes that are no flannel nodes (flannel pkg/subnet/kube: annotation kube-subnet-manager) or whose
 * annotations make no sense; a family that is incomplete is left out.
 */
export function leaseOf(node: FlannelNode): Lease | undefined {
  const annotations = node.metadata.annotations ?? {};
  const name = node.metadata.name;
  const backend = annotations[`${PREFIX}backend-type`];
  if (annotations[`${PREFIX}kube-subnet-manager`] !== 'true' || name === undefined || backend === undefined)
    return undefined;
  const subnets = subnetsOf(node);
  const families: Lease['families'] = {};
  for (const family of [4, 6] as const) {
    const subnet = subnets[family];
    const publicIp = annotations[KEYS[family].publicIp];
    if (subnet === undefined || publicIp === undefined || familyOf(publicIp) !== family) continue;
    const { mac, vni } = backendData(annotations[KEYS[family].data]);
    families[family] = { subnet, publicIp: normalizeAddress(publicIp), vtepMac: mac, vni };
  }
  return families[4] || families[6] ? { node: name, backend, families } : undefined;
}

/** `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}`; anything else gives nothing. */
export function backendData(text: string | undefined): { mac: string | undefined; vni: number | undefined } {
  try {
    const data = JSON.parse(text ?? 'null') as { VtepMAC?: unknown; VNI?: unknown } | null;
    return {
      mac: typeof data?.VtepMAC === 'string' && isUnicastMac(data.VtepMAC) ? data.VtepMAC.toLowerCase() : undefined,
      vni: typeof data?.VNI === 'number' ? data.VNI : undefined,
    };
  } catch {
    return { mac: undefined, vni: undefined };
  }
}

function isUnicastMac(mac: string): boolean {
  return /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac) && !/^00(:00){5}$/.test(mac);
}

function tryCidr(text: unknown): Cidr | undefined {
  try {
    const cidr = typeof text === 'string' ? parseCidr(text) : undefined;
    return cidr && { ...cidr, address: networkAddress(cidr) };
  } catch {
    return undefined;
  }
}

/** True if the two blocks share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && (a.prefix <= b.prefix ? cidrContains(a, b.address) : cidrContains(b, a.address));
}

/** Keeps of a Node only what flannel reads: the shape to store when nobody else needs the nodes. */
export function trimNode<T extends FlannelNode>(node: T): T {
  const annotations = Object.entries(node.metadata.annotations ?? {}).filter(([key]) => key.startsWith(PREFIX));
  const { name, uid, resourceVersion } = node.metadata;
  return {
    metadata: { name, uid, resourceVersion, annotations: Object.fromEntries(annotations) },
    spec: { podCIDR: node.spec?.podCIDR, podCIDRs: node.spec?.podCIDRs },
  } as T;
}
