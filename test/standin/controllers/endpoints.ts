import type { Pod, Service, ServicePort } from 'kubernetes-types/core/v1.d.ts';
import { familyOf } from '../../../src/core/index.ts';
import { K, type Kind } from '../kinds.ts';
import { as, type Dict, type Obj, sameJson } from '../objects.ts';
import { matchesLabelSelector } from '../selectors.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { controllerReference, ownedBy, readyCondition } from './owned.ts';

/** Endpoints and EndpointSlices of Services that select pods. */
export const endpoints: Controller = {
  name: 'endpoints',
  watches: [K.services, K.pods],
  reconcile(context) {
    for (const object of context.registry.store.list(K.services)) {
      const service = as<Service>(object);
      if (!service.spec?.selector || object.metadata.deletionTimestamp) continue;
      const pods = context.registry.store
        .list(K.pods, object.metadata.namespace)
        .map((pod) => as<Pod>(pod))
        .filter((pod) => matchesLabelSelector({ matchLabels: service.spec?.selector as never }, pod.metadata?.labels))
        .filter((pod) => pod.status?.podIP && pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed');
      writeSlice(context, object, pods);
      writeEndpoints(context, object, pods);
    }
  },
};

function addressOf(pod: Pod, family: 4 | 6): string | undefined {
  const all = pod.status?.podIPs?.map((entry) => entry.ip) ?? [pod.status?.podIP];
  return all.find((ip) => ip !== undefined && familyOf(ip) === family);
}

const targetOf = ({ metadata }: Pod) => ({
  kind: 'Pod',
  name: metadata?.name,
  namespace: metadata?.namespace,
  uid: metadata?.uid,
});

function portNumber(port: ServicePort, pods: readonly Pod[]): number | undefined {
  if (typeof port.targetPort !== 'string') return port.targetPort ?? port.port;
  const named = pods.flatMap((pod) => (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []));
  return named.find((candidate) => candidate.name === port.targetPort)?.containerPort;
}

function portsOf(service: Service, pods: readonly Pod[], unnamed: Dict) {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const number = portNumber(port, pods);
    if (number === undefined) return [];
    return [{ ...(port.name ? { name: port.name } : unnamed), port: number, protocol: port.protocol }];
  });
}

function writeSlice({ registry }: ControllerContext, object: Obj, pods: readonly Pod[]): void {
  const service = as<Service>(object);
  const family = service.spec?.ipFamilies?.[0] === 'IPv6' ? 6 : 4;
  const list = pods.flatMap((pod) => {
    const address = addressOf(pod, family);
    if (address === undefined) return [];
    const ready = readyCondition(pod) !== undefined;
    const terminating = pod.metadata?.deletionTimestamp !== undefined;
    return [
      {
        addresses: [address],
        conditions: { ready: ready && !terminating, serving: ready, terminating },
        nodeName: pod.spec?.nodeName,
        targetRef: targetOf(pod),
      },
    ];
  });
  const ports = portsOf(service, pods, { name: '' });
  const fields = {
    addressType: `IPv${family}`,
    endpoints: list.length > 0 ? list : null,
    ports: list.length > 0 ? ports : null,
  };
  const [known] = ownedBy(registry, object, K.endpointSlices);
  const { name = '', namespace, labels } = object.metadata;
  if (known) {
    put(registry, K.endpointSlices, known, fields);
    return;
  }
  registry.create(K.endpointSlices, namespace, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      generateName: `${name}-`,
      labels: {
        ...labels,
        ...(service.spec?.clusterIP === 'None' ? { 'service.kubernetes.io/headless': '' } : {}),
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': name,
      },
      ownerReferences: [controllerReference(object)],
    },
    ...fields,
  });
}

function writeEndpoints({ registry }: ControllerContext, object: Obj, pods: readonly Pod[]): void {
  const service = as<Service>(object);
  const address = (pod: Pod) => ({ ip: pod.status?.podIP, nodeName: pod.spec?.nodeName, targetRef: targetOf(pod) });
  const live = pods.filter((pod) => !pod.metadata?.deletionTimestamp);
  const ready = live.filter(readyCondition).map(address);
  const notReady = live.filter((pod) => !readyCondition(pod)).map(address);
  const subset = {
    ...(ready.length > 0 ? { addresses: ready } : {}),
    ...(notReady.length > 0 ? { notReadyAddresses: notReady } : {}),
    ports: portsOf(service, pods, {}),
  };
  const subsets = live.length > 0 ? [subset] : undefined;
  const { name = '', namespace } = object.metadata;
  const known = registry.store.get(K.endpoints, namespace, name);
  if (known) {
    put(registry, K.endpoints, known, { subsets });
    return;
  }
  registry.create(K.endpoints, namespace, {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name, labels: { 'endpoints.kubernetes.io/managed-by': 'endpoint-controller' } },
    ...(subsets ? { subsets } : {}),
  });
}

function put(registry: ControllerContext['registry'], kind: Kind, known: Obj, fields: Dict): void {
  if (Object.entries(fields).every(([field, value]) => sameJson(known[field], value))) return;
  const { namespace = '', name = '' } = known.metadata;
  registry.update({ kind, namespace, name, change: (current) => ({ ...current, ...fields }) });
}

/** Endpoints go with their Service; slices have it as owner. */
export const orphanEndpoints: Controller = {
  name: 'orphan-endpoints',
  watches: [K.services],
  reconcile() {},
  onEvent(event, { registry }) {
    if (event.type !== 'DELETED') return;
    const { namespace, name = '' } = event.object.metadata;
    if (registry.store.get(K.endpoints, namespace, name)) registry.remove(K.endpoints, namespace, name);
  },
};
