import { createHash } from 'node:crypto';
import { rfc3339 } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { assertWellFormed } from '../admission/index.ts';
import { isObject, podFault } from '../pods/validate.ts';
import { apiReference } from './api-references.ts';
import { applyDefaults } from './defaults.ts';

export const CONFIG_HASH = 'kubernetes.io/config.hash';
export const CONFIG_MIRROR = 'kubernetes.io/config.mirror';
const CONFIG_SOURCE = 'kubernetes.io/config.source';
const CONFIG_SEEN = 'kubernetes.io/config.seen';

const NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;
const NAMESPACE = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** What is wrong with a manifest, for people. */
export class ManifestFault extends Error {}

export interface ManifestOrigin {
  /** The file's path, part of the pod's identity. */
  path: string;
  nodeName: string;
  /** Milliseconds since the epoch. */
  seenAt: number;
}

/**
 * The pod of a manifest as the kubelet runs it: name with the node's behind it, an identity made of content, path and
 * node, so that another content is another pod (kubelet config/common.go), the API's defaults, and a toleration of
 * everything that would end it. Throws {@link ManifestFault}.
 */
export function staticPod(document: unknown, origin: ManifestOrigin): Pod {
  if (!isObject(document)) throw new ManifestFault('it holds no Pod');
  const { apiVersion, kind, metadata, spec } = document;
  if (apiVersion !== 'v1' || kind !== 'Pod')
    throw new ManifestFault(`it holds apiVersion ${told(apiVersion)}, kind ${told(kind)}, and not a Pod of v1`);
  const given = isObject(metadata) ? metadata : {};
  if (typeof given.name !== 'string' || given.name === '') throw new ManifestFault('name is needed for the pod');
  const name = `${given.name}-${origin.nodeName.toLowerCase()}`;
  const namespace = given.namespace || 'default';
  if (!NAME.test(name) || name.length > 253) throw new ManifestFault(`"${name.slice(0, 80)}" is not a name of a pod`);
  if (typeof namespace !== 'string' || !NAMESPACE.test(namespace) || namespace.length > 63)
    throw new ManifestFault('its namespace is malformed');
  const uid = typeof given.uid === 'string' && given.uid !== '' ? given.uid : identity(document, origin);
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid,
      ...(given.labels ? { labels: textMap('labels', given.labels) } : {}),
      creationTimestamp: rfc3339(origin.seenAt),
      annotations: {
        ...textMap('annotations', given.annotations ?? {}),
        [CONFIG_HASH]: uid,
        [CONFIG_SEEN]: new Date(origin.seenAt).toISOString().replace('Z', '000000Z'),
        [CONFIG_SOURCE]: 'file',
      },
    },
    spec: isObject(spec) ? structuredClone(spec) : undefined,
    status: { phase: 'Pending' },
  } as unknown as Pod;
  const fault = podFault(pod);
  if (fault !== undefined) throw new ManifestFault(fault);
  try {
    assertWellFormed(pod);
  } catch (error) {
    throw new ManifestFault((error as Error).message);
  }
  delete pod.spec.ephemeralContainers;
  const reference = apiReference(pod);
  if (reference !== undefined) throw new ManifestFault(`static pods may not reference ${reference}`);
  applyDefaults(pod);
  pod.spec.nodeName = origin.nodeName;
  pod.spec.tolerations = [
    ...(pod.spec.tolerations ?? []).filter((t) => !(t.operator === 'Exists' && t.effect === 'NoExecute' && !t.key)),
    { operator: 'Exists', effect: 'NoExecute' },
  ];
  return pod;
}

/** As the original's: 32 hexadecimal digits without dashes, by which a static pod is told from those of the server. */
function identity(document: unknown, { nodeName, path }: ManifestOrigin): string {
  return createHash('sha256')
    .update(canonical(document))
    .update(`host:${nodeName}`)
    .update(`file:${path}`)
    .digest('hex')
    .slice(0, 32);
}

export function looksStatic(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}

/** JSON with sorted keys: the order of lines in a file is not its content. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );
}

/** `null` is the empty text, as in Go; any other value is refused, as the original does. */
function textMap(name: 'labels' | 'annotations', value: unknown): Record<string, string> {
  if (!isObject(value)) throw new ManifestFault(`its ${name} are no map`);
  const entries = Object.entries(value).map(([key, one]): [string, string] => {
    if (one !== null && typeof one !== 'string')
      throw new ManifestFault(`its ${name} must be texts: write the value of "${key.slice(0, 63)}" in quotes`);
    return [key, one ?? ''];
  });
  return Object.fromEntries(entries);
}

function told(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value).slice(0, 40);
}
