import type { Node, NodeAddress, NodeCondition, Taint } from 'kubernetes-types/core/v1.d.ts';
import { addressAt, formatCidr, parseCidr } from '../../../src/core/index.ts';
import { K } from '../kinds.ts';
import { as, type Dict, type Obj, timestamp } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import type { Controller, ControllerContext } from './controller.ts';

/** Gives each node a block of pod addresses: /24 of IPv4 ranges, /64 of IPv6 ones. */
export const podCidrs: Controller = {
  name: 'pod-cidrs',
  watches: [K.nodes],
  reconcile({ registry, settings }) {
    const nodes = registry.store.list(K.nodes);
    const used = new Set(nodes.flatMap((node) => as<Node>(node).spec?.podCIDRs ?? []));
    for (const object of nodes) {
      if (as<Node>(object).spec?.podCIDR) continue;
      const podCIDRs = settings.clusterCidrs.map((range) => freeBlock(range, used));
      updateNode(registry, object, (spec) => ({ ...spec, podCIDR: podCIDRs[0], podCIDRs }));
    }
  },
};

function freeBlock(range: string, used: Set<string>): string {
  const cidr = parseCidr(range);
  const prefix = cidr.family === 4 ? 24 : 64;
  for (let i = 0; i < 4096; i++) {
    const address = cidr.family === 4 ? addressAt(cidr, i * 256) : ipv6Block(range, i);
    const block = formatCidr({ family: cidr.family, address, prefix });
    if (!used.has(block)) {
      used.add(block);
      return block;
    }
  }
  throw new Error(`${range} is full`);
}

function ipv6Block(range: string, index: number): string {
  const [network = ''] = range.split('/');
  const groups = network.split('::')[0]?.split(':') ?? [];
  while (groups.length < 4) groups.push('0');
  groups[3] = (Number.parseInt(groups[3] ?? '0', 16) + index).toString(16);
  return `${groups.slice(0, 4).join(':')}::`;
}

const UNINITIALIZED = 'node.cloudprovider.kubernetes.io/uninitialized';

/** k3s's cloud controller: addresses from the agent's annotations, provider ID, instance type, and the taint's end. */
export const cloudProvider: Controller = {
  name: 'cloud-provider',
  watches: [K.nodes],
  reconcile({ registry }) {
    for (const object of registry.store.list(K.nodes)) {
      const annotations = object.metadata.annotations ?? {};
      const internal = annotations['k3s.io/internal-ip'];
      if (!internal) continue; // k3s refuses such a node: the taint stays
      const name = object.metadata.name ?? '';
      const addresses: NodeAddress[] = [
        ...internal.split(',').map((address) => ({ type: 'InternalIP', address })),
        ...list(annotations['k3s.io/external-ip']).map((address) => ({ type: 'ExternalIP', address })),
        { type: 'Hostname', address: annotations['k3s.io/hostname'] ?? name },
        ...list(annotations['k3s.io/internal-dns']).map((address) => ({ type: 'InternalDNS', address })),
        ...list(annotations['k3s.io/external-dns']).map((address) => ({ type: 'ExternalDNS', address })),
      ];
      registry.update({
        kind: K.nodes,
        name,
        subresource: 'status',
        change: (current) => ({ ...current, status: { ...(current.status as Dict), addresses } }),
      });
      const labels = { 'beta.kubernetes.io/instance-type': 'k3s', 'node.kubernetes.io/instance-type': 'k3s' };
      registry.update({
        kind: K.nodes,
        name,
        change: (current) => {
          const spec = (current.spec ?? {}) as NonNullable<Node['spec']>;
          const taints = spec.taints?.filter((taint) => taint.key !== UNINITIALIZED) ?? [];
          return {
            ...current,
            metadata: { ...current.metadata, labels: { ...labels, ...current.metadata.labels } },
            spec: withTaints({ ...spec, providerID: spec.providerID ?? `k3s://${name}` }, taints),
          };
        },
      });
    }
  },
};

const list = (text: string | undefined) => (text ?? '').split(',').filter((part) => part !== '');

const FINALIZER = 'wrangler.cattle.io/node';

/** What k3s's node handler and the ttl controller leave on every Node. */
export const nodeMarks: Controller = {
  name: 'node-marks',
  watches: [K.nodes],
  reconcile({ registry }) {
    for (const object of registry.store.list(K.nodes)) {
      const leaving = object.metadata.deletionTimestamp !== undefined;
      registry.update({
        kind: K.nodes,
        name: object.metadata.name ?? '',
        change(current) {
          const { metadata } = current;
          const others = (metadata.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZER);
          return {
            ...current,
            metadata: {
              ...metadata,
              annotations: { 'node.alpha.kubernetes.io/ttl': '0', ...metadata.annotations },
              finalizers: leaving ? others : [...others, FINALIZER],
            },
          };
        },
      });
    }
  },
};

const NOT_READY = 'node.kubernetes.io/not-ready';
const UNREACHABLE = 'node.kubernetes.io/unreachable';
const PRESSURE: Readonly<Record<string, string>> = {
  MemoryPressure: 'node.kubernetes.io/memory-pressure',
  DiskPressure: 'node.kubernetes.io/disk-pressure',
  PIDPressure: 'node.kubernetes.io/pid-pressure',
  NetworkUnavailable: 'node.kubernetes.io/network-unavailable',
};
const OWN_TAINTS = new Set([NOT_READY, UNREACHABLE, 'node.kubernetes.io/unschedulable', ...Object.values(PRESSURE)]);

/** When each node last gave a sign of life, as this server saw it. */
const seen = new WeakMap<Registry, Map<string, { mark: string; at: number }>>();

/** The node lifecycle controller: silent nodes become Unknown, conditions become taints, pods there not ready. */
export const nodeLifecycle: Controller = {
  name: 'node-lifecycle',
  watches: [K.nodes, K.leases],
  everyMs: 1000,
  reconcile(context) {
    for (const object of context.registry.store.list(K.nodes)) {
      markSilent(context, object);
      taintByCondition(context, object.metadata.name ?? '');
    }
  },
  onEvent(event, context) {
    if (event.storage !== K.nodes.storage || event.type !== 'ADDED') return;
    const name = event.object.metadata.name;
    context.event(
      event.object,
      'node-controller',
      'RegisteredNode',
      `Node ${name} event: Registered Node ${name} in Controller`,
    );
  },
};

function markSilent(context: ControllerContext, object: Obj): void {
  const { registry, settings } = context;
  const name = object.metadata.name ?? '';
  const lease = registry.store.get(K.leases, 'kube-node-lease', name);
  const conditions = as<Node>(object).status?.conditions ?? [];
  const heartbeat = conditions.map((condition) => condition.lastHeartbeatTime).join();
  const mark = `${lease?.metadata.resourceVersion}/${heartbeat}`;
  const nodes = seen.get(registry) ?? new Map<string, { mark: string; at: number }>();
  seen.set(registry, nodes);
  const last = nodes.get(name);
  if (last?.mark !== mark) return void nodes.set(name, { mark, at: Date.now() });
  if (Date.now() - last.at < settings.nodeGraceMs) return;
  const now = timestamp();
  const types = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];
  if (types.every((type) => conditions.find((c) => c.type === type)?.status === 'Unknown')) return;
  const unknown = (type: string): NodeCondition => {
    const old = conditions.find((condition) => condition.type === type);
    return {
      type,
      status: 'Unknown',
      reason: old ? 'NodeStatusUnknown' : 'NodeStatusNeverUpdated',
      message: old ? 'Kubelet stopped posting node status.' : 'Kubelet never posted node status.',
      lastHeartbeatTime: old?.lastHeartbeatTime ?? (object.metadata.creationTimestamp as string),
      lastTransitionTime: now,
    };
  };
  const kept = conditions.filter((condition) => !types.includes(condition.type));
  const written = registry.update({
    kind: K.nodes,
    name,
    subresource: 'status',
    change: (current) => ({
      ...current,
      status: { ...(current.status as Dict), conditions: [...kept, ...types.map(unknown)] },
    }),
  });
  const beat = (as<Node>(written).status?.conditions ?? []).map((condition) => condition.lastHeartbeatTime).join();
  nodes.set(name, { mark: `${lease?.metadata.resourceVersion}/${beat}`, at: last.at });
  context.event(object, 'node-controller', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
  podsNotReady(context, name);
}

function podsNotReady({ registry }: ControllerContext, node: string): void {
  for (const pod of registry.store.list(K.pods)) {
    if ((pod.spec as { nodeName?: string }).nodeName !== node) continue;
    registry.update({
      kind: K.pods,
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name ?? '',
      subresource: 'status',
      change(current) {
        const status = current.status as { conditions?: { type: string; status: string }[] };
        const conditions = status.conditions?.map((condition) =>
          condition.type === 'Ready' && condition.status === 'True'
            ? { ...condition, status: 'False', lastTransitionTime: timestamp() }
            : condition,
        );
        return { ...current, status: { ...status, ...(conditions ? { conditions } : {}) } };
      },
    });
  }
}

function taintByCondition({ registry }: ControllerContext, name: string): void {
  const object = registry.store.get(K.nodes, undefined, name);
  if (!object) return;
  const node = as<Node>(object);
  const wanted: Omit<Taint, 'timeAdded'>[] = [];
  const status = (type: string) => node.status?.conditions?.find((condition) => condition.type === type)?.status;
  const ready = status('Ready');
  // No Ready condition at all: the taint given at creation stays.
  if (ready === undefined) wanted.push(...(node.spec?.taints ?? []).filter((taint) => taint.key === NOT_READY));
  if (ready === 'False') wanted.push({ key: NOT_READY, effect: 'NoSchedule' }, { key: NOT_READY, effect: 'NoExecute' });
  if (ready === 'Unknown')
    wanted.push({ key: UNREACHABLE, effect: 'NoSchedule' }, { key: UNREACHABLE, effect: 'NoExecute' });
  for (const [type, key] of Object.entries(PRESSURE))
    if (status(type) === 'True') wanted.push({ key, effect: 'NoSchedule' });
  if (node.spec?.unschedulable) wanted.push({ key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' });
  const current = node.spec?.taints ?? [];
  const foreign = current.filter((taint) => !OWN_TAINTS.has(taint.key));
  const own = wanted.map(
    (taint) =>
      current.find((t) => t.key === taint.key && t.effect === taint.effect) ?? { ...taint, timeAdded: timestamp() },
  );
  updateNode(registry, object, (spec) => withTaints(spec, [...foreign, ...own]));
}

function withTaints(spec: Dict, taints: readonly unknown[]): Dict {
  const { taints: _taints, ...rest } = spec;
  return taints.length > 0 ? { ...rest, taints } : rest;
}

function updateNode(registry: Registry, object: Obj, change: (spec: Dict) => Dict): void {
  registry.update({
    kind: K.nodes,
    name: object.metadata.name ?? '',
    change: (current) => ({ ...current, spec: change((current.spec ?? {}) as Dict) }),
  });
}
