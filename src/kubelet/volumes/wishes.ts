import type { Pod, Volume } from '../../kube/index.ts';
import { envReferences } from '../containers/env.ts';
import { containersOf } from '../containers/spec.ts';
import type { Reference } from '../references/index.ts';
import { fieldsOfDownward } from './downward.ts';
import { usedVolumes } from './used.ts';

type ProjectedSource = NonNullable<NonNullable<Volume['projected']>['sources']>[number];

/** ConfigMaps and Secrets that a pod's mounted volumes hold, each once. */
export function volumeReferences(pod: Pod): Reference[] {
  const namespace = pod.metadata.namespace ?? '';
  const found = new Map<string, Reference>();
  const note = (kind: Reference['kind'], name: string | undefined) => {
    if (name) found.set(`${kind}/${name}`, { kind, namespace, name });
  };
  const noteSource = (source: ProjectedSource) => {
    note('ConfigMap', source.configMap?.name);
    note('Secret', source.secret?.name);
  };
  for (const volume of usedVolumes(pod)) {
    note('ConfigMap', volume.configMap?.name);
    note('Secret', volume.secret?.secretName);
    volume.projected?.sources?.forEach(noteSource);
  }
  return [...found.values()];
}

/** ConfigMaps and Secrets that a pod names outside of its volumes: environments and pull secrets. */
export function otherReferences(pod: Pod): Reference[] {
  const namespace = pod.metadata.namespace ?? '';
  const found = new Map<string, Reference>();
  for (const { kind, name } of containersOf(pod).flatMap(envReferences))
    found.set(`${kind}/${name}`, { kind, namespace, name });
  for (const { name } of pod.spec.imagePullSecrets ?? [])
    if (name) found.set(`Secret/${name}`, { kind: 'Secret', namespace, name });
  return [...found.values()];
}

/**
 * What of the pod object itself ends up in its volumes: while this text stays the same, a new version of the pod needs
 * no look at them.
 */
export function volumeSignature(pod: Pod): string {
  const used = usedVolumes(pod);
  const fields = used.flatMap((volume) => [
    ...fieldsOfDownward(volume.downwardAPI?.items),
    ...(volume.projected?.sources ?? []).flatMap((source) => fieldsOfDownward(source.downwardAPI?.items)),
  ]);
  // An ephemeral container may be the first to mount a volume, or mount one inside of another.
  const late = pod.spec.ephemeralContainers?.flatMap((c) => c.volumeMounts ?? []) ?? [];
  const mounts = late.map(({ name, mountPath }) => [name, mountPath]);
  if (fields.length === 0) return mounts.length === 0 ? '' : JSON.stringify(mounts);
  const { metadata, spec } = pod;
  return JSON.stringify([metadata.labels, metadata.annotations, spec.containers.map((c) => c.resources), mounts]);
}

/** Whether a mounted volume shows ClusterTrustBundles. */
export function usesTrustBundles(pod: Pod): boolean {
  return usedVolumes(pod).some(({ projected }) =>
    projected?.sources?.some((source) => 'clusterTrustBundle' in source && source.clusterTrustBundle !== undefined),
  );
}

/** The user all containers run as, if it is one and the same (upstream's FsUserFrom): owner of projected tokens. */
export function commonUser(pod: Pod): number | undefined {
  const fallback = pod.spec.securityContext?.runAsUser;
  const users = new Set(containersOf(pod).map((c) => c.securityContext?.runAsUser ?? fallback));
  return users.size === 1 ? [...users][0] : undefined;
}
