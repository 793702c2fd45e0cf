import type { Container, Pod, PodSpec, ServiceAccount, Toleration } from 'kubernetes-types/core/v1.d.ts';
import { K } from '../kinds.ts';
import { as, randomSuffix } from '../objects.ts';
import { forbidden } from '../status.ts';
import type { Store } from '../storage.ts';
import { allContainers } from './pod-defaults.ts';

export const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const TOKEN_PATH = '/var/run/secrets/kubernetes.io/serviceaccount';

/** What the API server's admission plugins add to a new pod: priority, tolerations, service account and its token. */
export function admitPod(store: Store, pod: Pod): void {
  const spec = pod.spec as PodSpec;
  const mirror = pod.metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined;
  admitPriority(store, pod, spec);
  defaultTolerations(spec);
  if (!mirror) admitServiceAccount(store, pod, spec);
}

function admitPriority(store: Store, pod: Pod, spec: PodSpec): void {
  const name = spec.priorityClassName;
  if (!name) {
    spec.priority ??= 0;
    spec.preemptionPolicy ??= 'PreemptLowerPriority';
    return;
  }
  const found = store.get(K.priorityClasses, undefined, name);
  if (!found) throw forbidden(K.pods, pod.metadata?.name ?? '', `no PriorityClass with name ${name} was found`);
  const priorityClass = as<{ value: number; preemptionPolicy?: string }>(found);
  spec.priority = priorityClass.value;
  spec.preemptionPolicy ??= priorityClass.preemptionPolicy ?? 'PreemptLowerPriority';
}

function defaultTolerations(spec: PodSpec): void {
  const tolerations = spec.tolerations ?? [];
  const added: Toleration[] = [];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const covered = tolerations.some((t) => (t.key === key || !t.key) && (t.effect === 'NoExecute' || !t.effect));
    if (!covered) added.push({ effect: 'NoExecute', key, operator: 'Exists', tolerationSeconds: 300 });
  }
  if (added.length > 0) spec.tolerations = [...tolerations, ...added];
}

function admitServiceAccount(store: Store, pod: Pod, spec: PodSpec): void {
  spec.serviceAccountName ||= 'default';
  spec.serviceAccount = spec.serviceAccountName;
  const namespace = pod.metadata?.namespace ?? '';
  const found = store.get(K.serviceAccounts, namespace, spec.serviceAccountName);
  if (!found)
    throw forbidden(
      K.pods,
      pod.metadata?.name ?? pod.metadata?.generateName ?? '',
      `error looking up service account ${namespace}/${spec.serviceAccountName}: serviceaccount "${spec.serviceAccountName}" not found`,
    );
  const account = as<ServiceAccount>(found);
  if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length)
    spec.imagePullSecrets = account.imagePullSecrets.map((secret) => ({ ...secret }));
  if ((spec.automountServiceAccountToken ?? account.automountServiceAccountToken) === false) return;
  mountToken(spec);
}

function mountToken(spec: PodSpec): void {
  const without = (container: Container) => !container.volumeMounts?.some((m) => m.mountPath === TOKEN_PATH);
  const containers = allContainers(spec).filter(without);
  if (containers.length === 0) return;
  const name = `kube-api-access-${randomSuffix()}`;
  spec.volumes = [
    ...(spec.volumes ?? []),
    {
      name,
      projected: {
        defaultMode: 0o644,
        sources: [
          { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
          { configMap: { items: [{ key: 'ca.crt', path: 'ca.crt' }], name: 'kube-root-ca.crt' } },
          {
            downwardAPI: {
              items: [{ fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' }, path: 'namespace' }],
            },
          },
        ],
      },
    },
  ];
  for (const container of containers)
    container.volumeMounts = [...(container.volumeMounts ?? []), { mountPath: TOKEN_PATH, name, readOnly: true }];
}

/** QoS class as computed at creation (pkg/apis/core/helper/qos). */
export function qosClass(spec: PodSpec): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  let guaranteed = true;
  let any = false;
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) {
    for (const resource of ['cpu', 'memory']) {
      const request = container.resources?.requests?.[resource];
      const limit = container.resources?.limits?.[resource];
      if (request || limit) any = true;
      if (!limit || (request ?? limit) !== limit) guaranteed = false;
    }
  }
  return !any ? 'BestEffort' : guaranteed ? 'Guaranteed' : 'Burstable';
}
