import { K, KINDS } from '../kinds.ts';
import type { Dict } from '../objects.ts';
import type { Controller, ControllerContext } from './controller.ts';

const DESCRIPTION =
  'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.';

/** Every namespace has its `default` service account and the CA bundle pods mount. */
export const namespaceContents: Controller = {
  name: 'namespace-contents',
  watches: [K.namespaces, K.serviceAccounts, K.configMaps],
  reconcile({ registry, authority }) {
    for (const { metadata } of registry.store.list(K.namespaces)) {
      if (metadata.deletionTimestamp) continue;
      const namespace = metadata.name ?? '';
      if (!registry.store.get(K.serviceAccounts, namespace, 'default'))
        registry.create(K.serviceAccounts, namespace, {
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: 'default' },
        });
      if (!registry.store.get(K.configMaps, namespace, 'kube-root-ca.crt'))
        registry.create(K.configMaps, namespace, {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: 'kube-root-ca.crt', annotations: { 'kubernetes.io/description': DESCRIPTION } },
          data: { 'ca.crt': authority.serverCa.cert },
        });
    }
  },
};

/** Empties a terminating namespace, then lets it go. Pods leave gracefully, so it takes as long as they do. */
export const namespaceDeletion: Controller = {
  name: 'namespace-deletion',
  watches: [K.namespaces, K.pods],
  everyMs: 1000,
  reconcile(context) {
    for (const object of context.registry.store.list(K.namespaces)) {
      if (object.metadata.deletionTimestamp) empty(context, object.metadata.name ?? '');
    }
  },
};

function empty({ registry }: ControllerContext, namespace: string): void {
  let left = 0;
  for (const kind of KINDS) {
    if (!kind.namespaced || kind.virtual || kind.group === 'events.k8s.io') continue;
    for (const { metadata } of registry.store.list(kind, namespace)) {
      if (!metadata.deletionTimestamp) registry.remove(kind, namespace, metadata.name ?? '');
      if (registry.store.get(kind, namespace, metadata.name ?? '')) left++;
    }
  }
  if (left > 0) return;
  registry.update({
    kind: K.namespaces,
    name: namespace,
    subresource: 'finalize',
    change: (current) => ({ ...current, spec: { ...(current.spec as Dict), finalizers: [] } }),
  });
}
