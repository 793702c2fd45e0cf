import { AgentError } from '../../core/index.ts';
import type { ConfigMap, KubeClient, Secret } from '../../kube/index.ts';

/** An object that pods of this node name in volumes, environments or pull secrets. */
export interface Reference {
  kind: 'ConfigMap' | 'Secret';
  namespace: string;
  name: string;
}

export type Referenced = ConfigMap | Secret;

/** What is asked of the API server here. */
export type ReferenceApi = Pick<KubeClient, 'get' | 'create' | 'watch' | 'onReachable'>;

export function referenceKey(ref: Reference): string {
  return `${ref.kind}/${ref.namespace}/${ref.name}`;
}

/** Collection path of the reference's kind; names are checked by the server. */
export function collectionPath(ref: Reference): string {
  const plural = ref.kind === 'ConfigMap' ? 'configmaps' : 'secrets';
  return `/api/v1/namespaces/${encodeURIComponent(ref.namespace)}/${plural}`;
}

export function objectPath(ref: Reference): string {
  return `${collectionPath(ref)}/${encodeURIComponent(ref.name)}`;
}

/** The CA bundle every namespace gets and nearly every pod mounts; it changes with the cluster's CA, once in years. */
export function isRootCa(ref: Reference): boolean {
  return ref.kind === 'ConfigMap' && ref.name === 'kube-root-ca.crt';
}

/** There is no such object. Code `REFERENCE_ABSENT`; upstream's text. */
export function absentError(ref: Reference): AgentError {
  return new AgentError({ code: 'REFERENCE_ABSENT', message: `${ref.kind.toLowerCase()} "${ref.name}" not found` });
}

/** It can't be said whether there is one. Code `REFERENCE_UNKNOWN`. */
export function unknownError(ref: Reference, cause: unknown): AgentError {
  const why = cause instanceof Error ? cause.message : 'timed out waiting for the condition';
  return new AgentError({
    code: 'REFERENCE_UNKNOWN',
    message: `failed to sync ${ref.kind.toLowerCase()} cache: ${why}`,
    cause,
  });
}

/** What is kept of an object: its data. Annotations such as kubectl's last-applied copy would double the memory. */
export function trim(object: Referenced): Referenced {
  const { name, namespace, uid, resourceVersion } = object.metadata ?? {};
  const metadata = {
    ...(name !== undefined && { name }),
    ...(namespace !== undefined && { namespace }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
  };
  const { data, immutable } = object;
  const binaryData = (object as ConfigMap).binaryData;
  return {
    metadata,
    ...(isStringMap(data) && { data }),
    ...(isStringMap(binaryData) && { binaryData }),
    ...(immutable === true && { immutable }),
  };
}

function isStringMap(map: unknown): map is Record<string, string> {
  return typeof map === 'object' && map !== null && Object.values(map).every((value) => typeof value === 'string');
}
