import { type Cidr, cidrContains, type Family, formatCidr, parseCidr } from '../core/index.ts';
import type { NetworkState, Route } from '../host/index.ts';
import type { Datapath, PeerRoute, TunnelDevice } from './plan.ts';

export interface DatapathSteps {
  /** Lines for `ip -batch`, in order. */
  ip: string[];
  /** Lines for `bridge -batch`; after the ip lines if a device is made. */
  bridge: string[];
  /** Devices that are made, with the reason. */
  made: { name: string; family: Family; why: string }[];
}

export interface DiffContext {
  networks: Partial<Record<Family, Cidr>>;
  /** Interface to the other nodes; host-gw routes leave by it. */
  uplinkDev: string;
  /** The list of nodes is complete: what no lease explains is a leftover and goes. */
  sweep: boolean;
}

const TUNNEL = /^flannel(-v6)?\.\d+$/;
/** Metric that the kernel gives an IPv6 route without one. */
const PLAIN_METRIC: Readonly<Record<Family, number>> = { 4: 0, 6: 1024 };

/** The fewest commands from what the kernel has to what it must have. Empty lists: nothing to do. */
export function diffDatapath(current: NetworkState, desired: Datapath, context: DiffContext): DatapathSteps {
  const steps: DatapathSteps = { ip: [], bridge: [], made: [] };
  const fresh = new Set<string>();
  // The kernel drops a device's neighbours, permanent ones too, when its hardware address changes.
  const renamed = new Set<string>();
  for (const device of desired.devices) {
    if (diffDevice(current, device, context, steps)) fresh.add(device.name);
    else if (current.links.get(device.name)?.mac !== device.mac) renamed.add(device.name);
  }
  const wanted = new Set(desired.devices.map((device) => device.name));
  for (const link of current.links.values())
    if (TUNNEL.test(link.name) && link.kind === 'vxlan' && !wanted.has(link.name)) {
      steps.ip.push(`link del dev ${link.name}`);
      fresh.add(link.name);
    }
  diffEntries({ current, desired, context, steps, fresh, renamed });
  diffRoutes({ current, desired, context, steps, fresh });
  return steps;
}

/** True if the device is made (anew), which empties it. */
function diffDevice(current: NetworkState, device: TunnelDevice, context: DiffContext, steps: DatapathSteps): boolean {
  const { name, family, mac, mtu, local, link, vni, port } = device;
  const old = current.links.get(name);
  const why = old === undefined ? 'it did not exist' : mismatch(old, device);
  const address = `${device.address}/${family === 4 ? 32 : 128}`;
  if (why !== undefined) {
    if (old !== undefined) steps.ip.push(`link del dev ${name}`);
    // Port 0 is not sent: the kernel's own default (8472) is what the original uses.
    steps.ip.push(
      `link add name ${name} address ${mac} mtu ${mtu} type vxlan id ${vni} local ${local} dev ${link} dstport ${port} nolearning`,
      `address replace ${address} dev ${name}${family === 6 ? ' nodad' : ''}`,
      `link set dev ${name} up`,
    );
    steps.made.push({ name, family, why });
    return true;
  }
  if (old === undefined) return false;
  const set = [
    ...(old.mac === mac ? [] : [`address ${mac}`]),
    ...(old.mtu === mtu ? [] : [`mtu ${mtu}`]),
    ...(old.up ? [] : ['up']),
  ];
  if (set.length > 0) steps.ip.push(`link set dev ${name} ${set.join(' ')}`);
  const network = context.networks[family];
  const has = old.addresses.filter((a) => a.family === family);
  for (const a of has)
    if (network && cidrContains(network, a.address) && `${a.address}/${a.prefix}` !== address)
      steps.ip.push(`address del ${a.address}/${a.prefix} dev ${name}`);
  if (!has.some((a) => `${a.address}/${a.prefix}` === address))
    steps.ip.push(`address replace ${address} dev ${name}${family === 6 ? ' nodad' : ''}`);
  return false;
}

function mismatch(
  old: NonNullable<ReturnType<NetworkState['links']['get']>>,
  device: TunnelDevice,
): string | undefined {
  const { vxlan } = old;
  if (vxlan === undefined) return `it was of the kind ${old.kind ?? 'hardware'}`;
  if (vxlan.id !== device.vni) return `its VNI was ${vxlan.id}`;
  if (vxlan.local !== device.local) return `its local address was ${vxlan.local ?? 'not set'}`;
  if (vxlan.link !== device.link) return `its interface was ${vxlan.link ?? 'not set'}`;
  if (device.port !== 0 && vxlan.port !== device.port) return `its port was ${vxlan.port}`;
  if (vxlan.learning) return 'it learned addresses from packets';
  return vxlan.gbp ? 'it used group policies' : undefined;
}

interface Parts {
  current: NetworkState;
  desired: Datapath;
  context: DiffContext;
  steps: DatapathSteps;
  /** Devices that hold nothing once the first steps are done. */
  fresh: ReadonlySet<string>;
  renamed?: ReadonlySet<string>;
}

function diffEntries({ current, desired, context, steps, fresh, renamed }: Parts): void {
  const fdb = new Set(desired.fdb.map((e) => `${e.dev} ${e.mac} ${e.dst}`));
  const haveFdb = new Set<string>();
  for (const e of current.fdb) {
    if (fresh.has(e.dev)) continue;
    const key = `${e.dev} ${e.mac} ${e.dst}`;
    if (fdb.has(key)) haveFdb.add(key);
    // Deleted first: a replace of an address with two destinations would only append.
    else if (context.sweep) steps.bridge.push(`fdb del ${e.mac} dev ${e.dev} dst ${e.dst} self`);
  }
  for (const e of desired.fdb)
    if (!haveFdb.has(`${e.dev} ${e.mac} ${e.dst}`))
      steps.bridge.push(`fdb replace ${e.mac} dev ${e.dev} dst ${e.dst} self permanent`);

  const neighbours = new Map(desired.neighbours.map((n) => [`${n.dev} ${n.address}`, n.mac]));
  const haveNeighbours = new Map<string, string>();
  for (const n of current.neighbours) {
    if (fresh.has(n.dev) || renamed?.has(n.dev) || !TUNNEL.test(n.dev)) continue;
    const key = `${n.dev} ${n.address}`;
    haveNeighbours.set(key, n.mac);
    if (!neighbours.has(key) && context.sweep) steps.ip.push(`neighbour del ${n.address} dev ${n.dev}`);
  }
  for (const n of desired.neighbours)
    if (haveNeighbours.get(`${n.dev} ${n.address}`) !== n.mac)
      steps.ip.push(`neighbour replace ${n.address} lladdr ${n.mac} dev ${n.dev} nud permanent`);
}

function diffRoutes({ current, desired, context, steps, fresh }: Parts): void {
  const wanted = new Map(desired.routes.map((route) => [route.dst, route]));
  const have = new Set<string>();
  for (const route of current.routes) {
    if (fresh.has(route.dev) || route.protocol === 'kernel' || route.metric !== PLAIN_METRIC[route.family]) continue;
    const target = wanted.get(route.dst);
    if (target !== undefined && sameRoute(route, target)) have.add(route.dst);
    else if (target === undefined && context.sweep && isPeerRoute(route, context))
      steps.ip.push(`route del ${routeText(route)}`);
  }
  for (const route of desired.routes)
    if (!have.has(route.dst)) steps.ip.push(`route replace ${routeText(route)}${route.onlink ? ' onlink' : ''}`);
}

function sameRoute(route: Route, target: PeerRoute): boolean {
  return route.dev === target.dev && route.gateway === target.gateway && !route.dead;
}

/** A route that some flannel made: by a tunnel, or to a block of the cluster network by a neighbour of the uplink. */
function isPeerRoute(route: Route, context: DiffContext): boolean {
  if (TUNNEL.test(route.dev)) return true;
  const network = context.networks[route.family];
  if (network === undefined || route.dev !== context.uplinkDev || route.gateway === undefined) return false;
  const dst = parseCidr(route.dst);
  return dst.prefix > network.prefix && cidrContains(network, dst.address) && route.protocol === 'boot';
}

function routeText(route: Pick<PeerRoute, 'dst' | 'dev'> & { gateway: string | undefined }): string {
  return `${route.dst}${route.gateway === undefined ? '' : ` via ${route.gateway}`} dev ${route.dev}`;
}

/**
 * cni0 keeps the address of the subnet it was made for, and the bridge plugin would only change it at the next pod. A
 * bridge without pods is removed (the plugin makes it anew), one with pods gets the new gateway address at once.
 */
export function diffBridge(
  current: NetworkState,
  subnets: Partial<Record<Family, Cidr>>,
  gateways: readonly string[],
): string[] {
  const bridge = current.links.get('cni0');
  if (bridge?.kind !== 'bridge') return [];
  const families = ([4, 6] as const).filter((f) => subnets[f] !== undefined);
  const now = bridge.addresses.filter((a) => a.scope === 'global' && families.includes(a.family));
  const wrong = now.map((a) => formatCidr(a)).filter((a) => !gateways.includes(a));
  if (wrong.length === 0) return [];
  const inUse = [...current.links.values()].some((link) => link.master === 'cni0');
  if (!inUse) return ['link del dev cni0'];
  const missing = gateways.filter((g) => !now.some((a) => formatCidr(a) === g));
  return [
    ...wrong.map((a) => `address del ${a} dev cni0`),
    ...missing.map((g) => `address replace ${g} dev cni0${g.includes(':') ? ' nodad' : ' brd +'}`),
  ];
}
