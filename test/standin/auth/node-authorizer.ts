import type { PersistentVolume, Pod } from 'kubernetes-types/core/v1.d.ts';
import { K, kindOf } from '../kinds.ts';
import { as } from '../objects.ts';
import { allContainers } from '../registry/pod-defaults.ts';
import { fieldTerms } from '../selectors.ts';
import type { Store } from '../storage.ts';
import type { Attributes } from './attributes.ts';

/** `group/resource[/subresource]` → verbs every node has. */
const ALWAYS: Readonly<Record<string, readonly string[]>> = {
  'authentication.k8s.io/tokenreviews': ['create'],
  'authorization.k8s.io/subjectaccessreviews': ['create'],
  'authorization.k8s.io/localsubjectaccessreviews': ['create'],
  '/services': ['get', 'list', 'watch'],
  '/nodes': ['create', 'update', 'patch'],
  '/nodes/status': ['update', 'patch'],
  '/events': ['create', 'update', 'patch'],
  '/pods': ['create', 'delete'],
  '/pods/status': ['update', 'patch'],
  '/pods/eviction': ['create'],
  'storage.k8s.io/csidrivers': ['get', 'list', 'watch'],
  'node.k8s.io/runtimeclasses': ['get', 'list', 'watch'],
  'certificates.k8s.io/certificatesigningrequests': ['create', 'get', 'list', 'watch'],
};

/**
 * The Node authorizer: what a kubelet may do (plugin/pkg/auth/authorizer/node). Objects a pod refers to are readable
 * by the pod's node only; since 1.32 (`selectors`) nodes and pods may be listed by field selector only.
 * Returns undefined if allowed, else the reason.
 */
export function nodeRefusal(options: {
  store: Store;
  node: string;
  attributes: Attributes;
  selectors: boolean;
}): string | undefined {
  const { store, node, attributes, selectors } = options;
  const { group, resource, subresource, verb, name, namespace } = attributes;
  const key = `${group}/${resource}${subresource ? `/${subresource}` : ''}`;
  if (ALWAYS[key]?.includes(verb)) return undefined;
  const reading = ['get', 'list', 'watch'].includes(verb);
  switch (key) {
    case '/nodes':
      if (!reading) break;
      if (!selectors || (name ?? named(attributes)) === node) return undefined;
      return verb === 'get'
        ? `node '${node}' cannot read '${name}', only its own Node object`
        : `node '${node}' cannot read all nodes, only its own Node object`;
    case '/pods':
      if (!reading) break;
      if (!selectors) return undefined;
      if (verb === 'get') {
        const pod = store.get(K.pods, namespace, name ?? '');
        if (pod && as<Pod>(pod).spec?.nodeName === node) return undefined;
        return `no relationship found between node '${node}' and this object`;
      }
      if (fieldTerms(attributes.fieldSelector).some((t) => t.equal && t.field === 'spec.nodeName' && t.value === node))
        return undefined;
      return `can only list/watch pods with spec.nodeName field selector`;
    case '/secrets':
    case '/configmaps': {
      if (!reading) break;
      const wanted = name ?? named(attributes);
      if (wanted === undefined) return 'No Object name found';
      if (referenced(store, node, namespace ?? '', resource, wanted)) return undefined;
      if (resource === 'secrets' && isVolumeSecret(store, node, namespace ?? '', wanted)) return undefined;
      return `no relationship found between node '${node}' and this object`;
    }
    case '/persistentvolumeclaims':
    case '/persistentvolumeclaims/status': {
      const verbs = subresource === 'status' ? ['update', 'patch'] : ['get'];
      if (!verbs.includes(verb)) return 'can only get individual resources of this type';
      if (referenced(store, node, namespace ?? '', resource, name)) return undefined;
      return unrelated(node);
    }
    case '/persistentvolumes':
      if (verb !== 'get') return 'can only get individual resources of this type';
      return volumesOf(store, node).some((volume) => volume.metadata?.name === name) ? undefined : unrelated(node);
    case 'storage.k8s.io/volumeattachments': {
      if (verb !== 'get') return 'can only get individual resources of this type';
      const attachment = store.get(kindOf('storage.k8s.io', 'volumeattachments'), undefined, name ?? '');
      return attachment && (attachment.spec as { nodeName?: string })?.nodeName === node ? undefined : unrelated(node);
    }
    case '/serviceaccounts/token': {
      const used = podsOn(store, node).some(
        (pod) => pod.metadata?.namespace === namespace && pod.spec?.serviceAccountName === name,
      );
      return used && verb === 'create' ? undefined : `no relationship found between node '${node}' and this object`;
    }
    case '/endpoints':
      return verb === 'get' ? undefined : 'only get is allowed';
    case 'coordination.k8s.io/leases':
      if (!['get', 'create', 'update', 'patch', 'delete'].includes(verb)) break;
      if (namespace !== 'kube-node-lease') return 'can only access leases in the "kube-node-lease" system namespace';
      return verb === 'create' || name === node
        ? undefined
        : 'can only access node lease with the same name as the requesting node';
    case 'storage.k8s.io/csinodes':
      if (!['get', 'create', 'update', 'patch', 'delete'].includes(verb)) break;
      return verb === 'create' || name === node
        ? undefined
        : 'can only access CSINode with the same name as the requesting node';
  }
  return '';
}

function unrelated(node: string): string {
  return `no relationship found between node '${node}' and this object`;
}

function named(attributes: Attributes): string | undefined {
  return fieldTerms(attributes.fieldSelector).find((term) => term.equal && term.field === 'metadata.name')?.value;
}

function podsOn(store: Store, node: string): Pod[] {
  return store
    .list(K.pods)
    .map((object) => as<Pod>(object))
    .filter((pod) => pod.spec?.nodeName === node);
}

/** What the claims of a node's pods are bound to. */
function volumesOf(store: Store, node: string): PersistentVolume[] {
  return store
    .list(kindOf('', 'persistentvolumes'))
    .map((object) => as<PersistentVolume>(object))
    .filter(({ spec }) => {
      const { namespace = '', name } = spec?.claimRef ?? {};
      return referenced(store, node, namespace, 'persistentvolumeclaims', name);
    });
}

/** Secrets that drivers get for a volume. */
function isVolumeSecret(store: Store, node: string, namespace: string, name: string): boolean {
  return volumesOf(store, node).some(({ spec }) => {
    const { nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef } = spec?.csi ?? {};
    return [nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef].some(
      (ref) => ref?.name === name && ref.namespace === namespace,
    );
  });
}

function referenced(
  store: Store,
  node: string,
  namespace: string,
  resource: string,
  name: string | undefined,
): boolean {
  if (name === undefined) return false;
  return podsOn(store, node).some(
    (pod) => pod.metadata?.namespace === namespace && references(pod, resource).has(name),
  );
}

function references(pod: Pod, resource: string): Set<string | undefined> {
  const names = new Set<string | undefined>();
  const spec = pod.spec;
  if (!spec) return names;
  const secret = resource === 'secrets';
  for (const volume of spec.volumes ?? []) {
    if (resource === 'persistentvolumeclaims') {
      names.add(volume.persistentVolumeClaim?.claimName);
      if (volume.ephemeral) names.add(`${pod.metadata?.name}-${volume.name}`);
      continue;
    }
    names.add(secret ? volume.secret?.secretName : volume.configMap?.name);
    for (const source of volume.projected?.sources ?? [])
      names.add(secret ? source.secret?.name : source.configMap?.name);
    if (secret) names.add(volume.csi?.nodePublishSecretRef?.name);
  }
  if (resource === 'persistentvolumeclaims') return names;
  if (secret) for (const pull of spec.imagePullSecrets ?? []) names.add(pull.name);
  for (const container of allContainers(spec)) {
    for (const from of container.envFrom ?? []) names.add(secret ? from.secretRef?.name : from.configMapRef?.name);
    for (const { valueFrom } of container.env ?? [])
      names.add(secret ? valueFrom?.secretKeyRef?.name : valueFrom?.configMapKeyRef?.name);
  }
  return names;
}
