import type { Capacity, SystemFacts } from '../../hardware/index.ts';
import type { Node, NodeAddress, Taint } from '../../kube/index.ts';
import { nodeAllocatable, nodeCapacity, type Reserved } from './resources.ts';
import { parseVersion } from './version.ts';

/** The kubelet's note for the cloud controller: the addresses the node was started with. */
const PROVIDED_IP = 'alpha.kubernetes.io/provided-node-ip';

/** What the Node object is made of; constant while the agent runs, save what {@link NodeFacts} names as functions. */
export interface NodeIdentity {
  name: string;
  /** The OS host name, for the `Hostname` address and the label. */
  hostname: string;
  ips: readonly string[];
  /** Labels of the flags and of the hardware to set (text) or to remove (null). */
  labels: Readonly<Record<string, string | null>>;
  taints: readonly Taint[];
  /** Annotations to set (text) or to remove (null). */
  annotations: Readonly<Record<string, string | null>>;
  /** True unless the server runs with --disable-cloud-controller: the k3s cloud controller then owns addresses. */
  externalCloud: boolean;
  kubeletVersion: string;
  kubeletPort: number;
  system: SystemFacts;
  capacity: Capacity;
  reserved: Reserved;
  maxPods: number;
}

/** Labels that every kubelet sets. */
export function ownLabels(node: NodeIdentity): Record<string, string | null> {
  const { architecture } = node.system;
  return {
    'beta.kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'kubernetes.io/hostname': node.name,
    'kubernetes.io/os': 'linux',
    ...node.labels,
  };
}

/** Annotations that every kubelet sets, then ours. */
export function ownAnnotations(node: NodeIdentity): Record<string, string | null> {
  return {
    'volumes.kubernetes.io/controller-managed-attach-detach': 'true',
    ...(node.externalCloud ? { [PROVIDED_IP]: node.ips.join(',') } : {}),
    ...node.annotations,
  };
}

/** The Node as it is first created, without status. */
export function newNode(node: NodeIdentity): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node.name,
      labels: present(ownLabels(node)),
      annotations: present(ownAnnotations(node)),
    },
    spec: {
      taints: [
        ...node.taints,
        ...(node.externalCloud
          ? [{ key: 'node.cloudprovider.kubernetes.io/uninitialized', value: 'true', effect: 'NoSchedule' }]
          : []),
      ],
    },
  };
}

function present(entries: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).filter((entry): entry is [string, string] => entry[1] !== null));
}

/** Addresses as a kubelet without a cloud sets them: every node IP, then the host name. */
export function nodeAddresses(node: NodeIdentity): NodeAddress[] {
  return [...node.ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: node.name }];
}

/** The addresses of a board that moved: the internal ones are ours now, the others stay as the cloud controller set them. */
export function movedAddresses(known: readonly NodeAddress[], node: NodeIdentity): NodeAddress[] {
  const others = known.filter(({ type }) => type !== 'InternalIP');
  return [...node.ips.map((address) => ({ type: 'InternalIP', address })), ...others];
}

/** True if the Node was made or last changed by an agent with other addresses: the board was off when it got new ones. */
export function wasMoved(stored: Node, node: NodeIdentity): boolean {
  const told = stored.metadata.annotations?.[PROVIDED_IP];
  return told !== undefined && told !== node.ips.join(',');
}

/** The constant part of status. */
export function staticStatus(node: NodeIdentity, runtimeVersion: string): Record<string, unknown> {
  const minor = parseVersion(node.kubeletVersion)?.[1] ?? 0;
  return {
    capacity: nodeCapacity(node.capacity, node.maxPods),
    allocatable: nodeAllocatable(node.capacity, node.maxPods, node.reserved),
    daemonEndpoints: { kubeletEndpoint: { Port: node.kubeletPort } },
    nodeInfo: {
      ...node.system,
      containerRuntimeVersion: runtimeVersion,
      kubeletVersion: node.kubeletVersion,
      // The kube-proxy version was never known to the kubelet; 1.33 stopped pretending.
      kubeProxyVersion: minor >= 33 ? '' : node.kubeletVersion,
      operatingSystem: 'linux',
    },
  };
}
