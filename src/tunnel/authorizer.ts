import { cidrContains, familyOf, parseCidr, sameAddress, splitHostPort } from '../core/index.ts';
import type { Pod } from '../kube/index.ts';

/** The server's `egress-selector-mode`. */
export type EgressMode = 'agent' | 'disabled' | 'cluster' | 'pod';

/** Where a pod of this node can be reached: its own addresses, or its declared TCP ports on the node's. */
export interface PodReach {
  hostNetwork: boolean;
  ips: readonly string[];
  tcpPorts: readonly number[];
}

/** What the decision rests on; read anew for each Connect. */
export interface EgressFacts {
  mode: EgressMode;
  kubeletPort: number;
  nodeIps: readonly string[];
  /** Pod address blocks, such as `10.42.0.0/16`. */
  clusterCidrs: readonly string[];
  pods: Iterable<PodReach>;
}

export type EgressDecision = { allowed: true; host: string; port: number; kubelet: boolean } | { allowed: false };

/** k3s' StreamServerPort: the CRI's streaming server on the loopback address. */
const STREAM_PORT = 10010;
const REFUSED: EgressDecision = { allowed: false };

/**
 * May the server dial this address from here? Always the kubelet's and the stream server's port on the loopback
 * address; more by the egress mode (k3s pkg/agent/tunnel/tunnel.go authorized, clusterAuth, watchPods). Only TCP is
 * ever dialled, as servers ask for nothing else.
 */
export function authorizeDial(facts: EgressFacts, proto: string, address: string): EgressDecision {
  const target = splitHostPort(address);
  if (proto !== 'tcp' || target === undefined || familyOf(target.host) === undefined) return REFUSED;
  const { host, port } = target;
  if (host === '127.0.0.1' || host === '::1') {
    if (port === facts.kubeletPort) return { allowed: true, host, port, kubelet: true };
    if (port === STREAM_PORT) return { allowed: true, host, port, kubelet: false };
    return REFUSED;
  }
  return reaches(facts, host, port) ? { allowed: true, host, port, kubelet: false } : REFUSED;
}

function reaches(facts: EgressFacts, host: string, port: number): boolean {
  const own = facts.nodeIps.some((ip) => sameAddress(ip, host));
  switch (facts.mode) {
    case 'agent':
    case 'disabled':
      return false;
    case 'cluster':
      return own || facts.clusterCidrs.some((cidr) => cidrContains(parseCidr(cidr), host));
    case 'pod':
      for (const pod of facts.pods)
        if (pod.hostNetwork ? own && pod.tcpPorts.includes(port) : pod.ips.some((ip) => sameAddress(ip, host)))
          return true;
      return false;
    default:
      facts.mode satisfies never;
      return false; // a mode of a newer server
  }
}

/** A pod's part in `pod` mode; undefined once it is being deleted. */
export function podReach(pod: Pod): PodReach | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined;
  const ports = pod.spec.containers.flatMap((c) => c?.ports ?? []);
  return {
    hostNetwork: pod.spec.hostNetwork === true,
    ips: (pod.status?.podIPs ?? []).map((p) => p?.ip ?? ''),
    tcpPorts: ports.filter((p) => p && (p.protocol ?? 'TCP') === 'TCP').map((p) => p.containerPort),
  };
}
