import { AgentError, registerSecret } from '../../core/index.ts';
import type { Secret } from '../../kube/index.ts';
import { claimsOf } from '../references/index.ts';
import type { StorageSpec } from '../volumes/claims/spec.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import type { Driver } from './driver.ts';
import type { VolumeCapability } from './messages.ts';

/** What a driver is told about the use that is made of a volume. */
export async function capabilityOf(volume: CsiVolume, driver: Driver): Promise<VolumeCapability> {
  const { spec, pod, signal } = volume;
  const access = { mode: await accessMode(spec.persistent?.spec?.accessModes?.[0], driver, signal) };
  if (spec.block) return { block: {}, access };
  const group = pod.spec.securityContext?.fsGroup;
  const mountGroup =
    group !== undefined && (await driver.can('VOLUME_MOUNT_GROUP', signal)) ? { mountGroup: String(group) } : {};
  return {
    mount: { fsType: fsTypeOf(volume), mountFlags: spec.persistent?.spec?.mountOptions ?? [], ...mountGroup },
    access,
  };
}

/** The pod or the PersistentVolume wants it so. */
export function isReadOnly({ readOnly, persistent }: StorageSpec): boolean {
  return readOnly || persistent?.spec?.csi?.readOnly === true;
}

export function fsTypeOf({ spec }: CsiVolume): string {
  return spec.persistent?.spec?.csi?.fsType ?? spec.inline?.csi?.fsType ?? '';
}

async function accessMode(mode = 'ReadWriteOnce', driver: Driver, signal: AbortSignal): Promise<string> {
  if (mode === 'ReadOnlyMany') return 'MULTI_NODE_READER_ONLY';
  if (mode === 'ReadWriteMany') return 'MULTI_NODE_MULTI_WRITER';
  const several = await driver.can('SINGLE_NODE_MULTI_WRITER', signal);
  if (mode === 'ReadWriteOncePod') return several ? 'SINGLE_NODE_SINGLE_WRITER' : 'SINGLE_NODE_WRITER';
  return several ? 'SINGLE_NODE_MULTI_WRITER' : 'SINGLE_NODE_WRITER';
}

/** The content of a Secret a volume names; empty if it names none. Throws with upstream's text. */
export async function secretsFor(
  ref: { name?: string; namespace?: string } | undefined,
  { references }: CsiContext,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { name = '', namespace = '' } = ref ?? {};
  if (name === '') return {};
  try {
    const { data = {} } = (await references.get({ kind: 'Secret', namespace, name }, signal)) as Secret;
    const out = Object.fromEntries(Object.entries(data).map(([k, v]) => [k, Buffer.from(v, 'base64').toString()]));
    // A driver may well quote them in its errors.
    for (const value of Object.values(out)) registerSecret(value);
    return out;
  } catch (cause) {
    if (signal.aborted) throw cause;
    const why = cause instanceof Error ? cause.message : '';
    throw new AgentError({
      code: 'CSI_SECRET',
      message: `kubernetes.io/csi: failed to find the secret ${name} in the namespace ${namespace} with error: ${why}`,
      cause,
    });
  }
}

/** The pod, for drivers that want to know it (podInfoOnMount). */
export function podContext({ pod, podUid, spec, object }: CsiVolume): Record<string, string> {
  if (object?.spec?.podInfoOnMount !== true) return {};
  return {
    'csi.storage.k8s.io/pod.name': pod.metadata.name ?? '',
    'csi.storage.k8s.io/pod.namespace': pod.metadata.namespace ?? '',
    'csi.storage.k8s.io/pod.uid': podUid,
    'csi.storage.k8s.io/serviceAccount.name': pod.spec.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': String(spec.inline !== undefined),
  };
}

/** Tokens of the pod's service account, for drivers that act in its name (tokenRequests). */
export async function tokenContext(volume: CsiVolume, { tokens }: CsiContext): Promise<Record<string, string>> {
  const { pod, podUid, object, signal } = volume;
  const requests = object?.spec?.tokenRequests ?? [];
  if (requests.length === 0) return {};
  const out: Record<string, { token: string; expirationTimestamp: string }> = {};
  for (const { audience, expirationSeconds = 3600 } of requests.slice(0, 16)) {
    const wish = {
      podName: pod.metadata.name ?? '',
      podUid,
      namespace: pod.metadata.namespace ?? '',
      serviceAccount: pod.spec.serviceAccountName || 'default',
      audience,
      expirationSeconds,
    };
    const { token } = await tokens.get(wish, signal);
    out[audience] = { token, expirationTimestamp: expiryOf(token) };
  }
  return { 'csi.storage.k8s.io/serviceAccount.tokens': JSON.stringify(out) };
}

function expiryOf(token: string): string {
  try {
    const { exp } = claimsOf(token);
    return exp === undefined ? '' : new Date(exp * 1000).toISOString().replace('.000', '');
  } catch {
    return '';
  }
}
