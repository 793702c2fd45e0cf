import type { Service } from 'kubernetes-types/core/v1.d.ts';
import { addressAt, parseCidr } from '../../../src/core/index.ts';
import { K } from '../kinds.ts';
import { as, type Obj } from '../objects.ts';
import type { Store } from '../storage.ts';

/** Defaults of a Service, with a free cluster IP and node ports where the type asks for them. */
export function defaultService(store: Store, serviceCidr: string, object: Obj): void {
  object.spec ??= {};
  const spec = as<Service>(object).spec as NonNullable<Service['spec']>;
  spec.type ??= 'ClusterIP';
  spec.sessionAffinity ??= 'None';
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP';
    if (spec.type !== 'ExternalName') port.targetPort ??= port.port;
  }
  if (spec.sessionAffinity === 'ClientIP') spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10800 } };
  object.status ??= { loadBalancer: {} };
  if (spec.type === 'ExternalName') return;
  spec.internalTrafficPolicy ??= 'Cluster';
  spec.ipFamilies ??= [parseCidr(serviceCidr).family === 4 ? 'IPv4' : 'IPv6'];
  spec.ipFamilyPolicy ??= 'SingleStack';
  spec.clusterIP ||= spec.clusterIPs?.[0] || freeClusterIp(store, serviceCidr);
  spec.clusterIPs ??= [spec.clusterIP];
  if (spec.type === 'ClusterIP') return;
  spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  const used = new Set(services(store).flatMap((s) => (s.spec?.ports ?? []).map((port) => port.nodePort)));
  for (const port of spec.ports ?? []) {
    for (let next = 30000; !port.nodePort && next < 32768; next++) if (!used.has(next)) port.nodePort = next;
    used.add(port.nodePort);
  }
}

function services(store: Store): Service[] {
  return store.list(K.services).map((object) => as<Service>(object));
}

function freeClusterIp(store: Store, serviceCidr: string): string {
  const used = new Set(services(store).flatMap((service) => service.spec?.clusterIPs ?? []));
  const cidr = parseCidr(serviceCidr);
  // The first 256 addresses are for fixed ones (1: the API server, 10: DNS).
  for (let offset = 257; offset < 65_000; offset++) {
    const address = addressAt(cidr, offset);
    if (!used.has(address)) return address;
  }
  throw new Error('the service range is full');
}
