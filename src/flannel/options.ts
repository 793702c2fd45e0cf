import type { Clock, Family, Logger } from '../core/index.ts';
import type { Exec, Ip, NetEvent, Sysctl } from '../host/index.ts';
import type { KubeClient } from '../kube/index.ts';

/** The part of a Node that flannel looks at. */
export interface FlannelNode {
  metadata: {
    name?: string | undefined;
    uid?: string | undefined;
    resourceVersion?: string | undefined;
    annotations?: Record<string, string> | undefined;
  };
  spec?: { podCIDR?: string | undefined; podCIDRs?: string[] | undefined } | undefined;
}

/** What flannel needs of a store of nodes; an Informer<Node> is one. */
export interface NodeStore {
  readonly synced: boolean;
  get(name: string): FlannelNode | undefined;
  list(): FlannelNode[];
  whenSynced(): Promise<void>;
  /** Calls the handler for what is there and for each change; returns the unsubscriber. */
  subscribe(handler: (change: { key: string; object: FlannelNode }) => void): () => void;
}

/** What the server says (§2.3 of the k3s configuration JSON). */
export interface FlannelServerConfig {
  /** `vxlan`, `host-gw`, `none`, … as in FlannelBackend. */
  backend: string;
  /** ClusterIPRanges: one block a family. */
  clusterCidrs: readonly string[];
  ipv6Masq: boolean;
  /** FlannelExternalIP: peers reach this node at its external address. */
  externalIp: boolean;
}

export interface FlannelPaths {
  /** `DD/agent/etc/flannel/net-conf.json` */
  netConf: string;
  /** `DD/agent/etc/cni/net.d/10-flannel.conflist` */
  conflist: string;
  /** The same without portmap and bandwidth, in a folder of its own; not written when the user has a conflist. */
  plainConflist: string;
  /** `/run/flannel/subnet.env` */
  subnetEnv: string;
  /** Where host-local keeps the addresses in use: `/var/lib/cni/networks/cbr0`. */
  hostLocal: string;
  /** Folder of the CNI plugins; undefined if unknown: then bridge, host-local and portmap are taken for granted. */
  cniBin?: string;
}

export interface SubnetChange {
  /** Blocks before, such as `10.42.1.0/24`. */
  previous: string[];
  current: string[];
}

export interface FlannelOptions {
  nodeName: string;
  /** The user's addresses; used only to find the uplink where there is no default route. */
  nodeIps: readonly string[];
  nodeExternalIps: readonly string[];
  /** `--flannel-iface`: interface name, or one of its addresses. */
  iface?: string;
  /** `--flannel-conf`: a net-conf.json of the user's own. */
  flannelConf?: string;
  /** `--flannel-cni-conf`: a conflist of the user's own. */
  cniConf?: string;
  serverConfig: FlannelServerConfig;
  paths: FlannelPaths;
  /** For the annotations of the own Node; the kubelet's identity may patch them. */
  client: Pick<KubeClient, 'patch' | 'onReachable'>;
  /** Every node of the cluster. Newer servers let only the k3s-controller identity list them. */
  nodes: NodeStore;
  /** A faster source of the own Node, if there is one (the kubelet's single-node watch). */
  ownNode?: NodeStore;
  monitor: { subscribe(handler: (events: readonly NetEvent[]) => void): () => void };
  exec: Exec;
  ip: Ip;
  sysctl: Sysctl;
  log: Logger;
  clock: Clock;
  /** The own pod networks changed: sandboxes made before hold addresses that no longer lead here. */
  onSubnetChanged?: (change: SubnetChange) => void;
  /**
   * The own pod networks are known and the same as at the last start, as far as the files tell: that start may have ended
   * before it had made the sandboxes anew. Not called with a CNI configuration of the user's, which has its own addresses.
   */
  onSubnetsKnown?: (current: string[]) => void;
}

export interface FlannelStatus {
  backend: string;
  subnets: string[];
  publicIp: Partial<Record<Family, string>>;
  iface: string | undefined;
  mtu: number | undefined;
  peers: number;
  /** Rule system in use and why. */
  netfilter: string | undefined;
  /** What it waits for, if it does: a podCIDR, a default route. */
  waiting: string | undefined;
  lastError: string | undefined;
}
