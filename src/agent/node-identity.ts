import { hostname } from 'node:os';
import { type AgentConfig, type KubeletSettings, type NodeMeta, parseLabel, parseTaint } from '../config/index.ts';
import type { Board, Capacity, SystemFacts } from '../hardware/index.ts';
import { boardLabels } from '../hardware/index.ts';
import type { Joined } from '../join/index.ts';
import { hardReservation, type NodeIdentity } from '../kubelet/index.ts';

export interface IdentityInput {
  config: AgentConfig;
  meta: NodeMeta;
  joined: Joined;
  settings: KubeletSettings;
  board: Board;
  system: SystemFacts;
  capacity: Capacity;
  kubeletVersion: string;
}

/** Everything the Node object says about this board, from configuration, server and hardware. */
export function nodeIdentity(input: IdentityInput): NodeIdentity {
  const { config, joined, settings, capacity, system, board, kubeletVersion } = input;
  const { kubeReserved, systemReserved } = settings;
  const eviction = settings.experimentalAllocatableIgnoreEviction
    ? { memory: 0, ephemeralStorage: 0 }
    : hardReservation(settings, capacity);
  const labels = [...settings.nodeLabels, ...config.nodeLabels].map((text) => parseLabel(text));
  const egress = ['cluster', 'pod'].includes(joined.config.egressSelectorMode);
  return {
    name: joined.nodeName,
    hostname: hostname(),
    ips: joined.nodeIps,
    labels: {
      ...boardLabels(board),
      ...Object.fromEntries(labels),
      'egress.k3s.io/cluster': egress ? 'true' : null,
    },
    taints:
      settings.registerWithTaints.length > 0
        ? settings.registerWithTaints
        : config.nodeTaints.flatMap((text) => parseTaint(text) ?? []),
    annotations: annotations(input),
    externalCloud: !joined.config.disableCcm,
    kubeletVersion,
    kubeletPort: settings.port,
    system,
    capacity,
    reserved: {
      cpu: kubeReserved.cpu + systemReserved.cpu,
      memory: kubeReserved.memory + systemReserved.memory + eviction.memory,
      ephemeralStorage: kubeReserved.ephemeralStorage + systemReserved.ephemeralStorage + eviction.ephemeralStorage,
    },
    maxPods:
      settings.podsPerCore > 0 ? Math.min(settings.maxPods, settings.podsPerCore * capacity.cpu) : settings.maxPods,
  };
}

/** k3s' annotations (pkg/nodeconfig, pkg/agent/run.go): the cloud controller makes the Node's addresses of them. */
function annotations({ config, meta, joined }: IdentityInput): Record<string, string | null> {
  const name = hostname();
  const addresses: Record<string, string> = {
    'internal-ip': joined.nodeIps.join(','),
    'external-ip': joined.nodeExternalIps.join(','),
    hostname: name === '' || name.includes('localhost') ? joined.nodeName : name,
    'internal-dns': config.nodeInternalDns.join(','),
    'external-dns': config.nodeExternalDns.join(','),
  };
  const out: Record<string, string | null> = {
    'k3s.io/node-args': meta.nodeArgs,
    'k3s.io/node-env': meta.nodeEnv,
    'k3s.io/node-config-hash': meta.nodeConfigHash,
  };
  for (const [key, value] of Object.entries(addresses))
    out[`k3s.io/${key}`] = joined.config.disableCcm || value === '' ? null : value;
  return out;
}
