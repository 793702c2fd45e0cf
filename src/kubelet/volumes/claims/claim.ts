import { type Clock, describeError } from '../../../core/index.ts';
import {
  KubeError,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  type Volume,
} from '../../../kube/index.ts';
import { containersOf } from '../../containers/spec.ts';
import { onceAllowed } from '../../references/allowed.ts';
import { volumeError } from '../errors.ts';
import type { StorageApi } from '../storage.ts';
import type { StorageSpec } from './spec.ts';

export interface ClaimContext {
  client: StorageApi;
  clock: Clock;
  signal: AbortSignal;
}

/** The claim a volume names, or the one made for it. */
export function claimName(pod: Pod, volume: Volume): string | undefined {
  if (volume.ephemeral) return `${pod.metadata.name}-${volume.name}`;
  return volume.persistentVolumeClaim?.claimName;
}

/**
 * Finds the PersistentVolume behind a claim and checks that the pod may have it (kubelet
 * desired_state_of_world_populator.go). A node may get claims and volumes its pods use, and nothing wider; there is no
 * watching them. Throws `VOLUME_PROCESS` with upstream's text, `KUBE_…` without an answer.
 */
export async function resolveClaim(pod: Pod, volume: Volume, context: ClaimContext): Promise<StorageSpec> {
  const namespace = pod.metadata.namespace ?? '';
  const name = claimName(pod, volume) ?? '';
  const fail = (why: string) => volumeError('VOLUME_PROCESS', `error processing PVC ${namespace}/${name}: ${why}`);
  const claim = await fetch<PersistentVolumeClaim>(
    `/api/v1/namespaces/${encodeURIComponent(namespace)}/persistentvolumeclaims/${encodeURIComponent(name)}`,
    (why) => fail(`failed to fetch PVC from API server: ${why}`),
    context,
  );
  const found = claim.spec?.volumeName ?? '';
  if (claim.metadata?.deletionTimestamp) throw fail('PVC is being deleted');
  if (claim.status?.phase !== 'Bound') throw fail('PVC is not bound');
  if (found === '') throw fail('PVC has empty pvc.Spec.VolumeName');
  if (volume.ephemeral && !ownedBy(claim, pod))
    throw volumeError(
      'VOLUME_PROCESS',
      `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`,
    );
  const persistent = await fetch<PersistentVolume>(
    `/api/v1/persistentvolumes/${encodeURIComponent(found)}`,
    (why) => fail(`failed to fetch PV ${found} from API server: ${why}`),
    context,
  );
  const owner = persistent.spec?.claimRef;
  if (!owner)
    throw fail(
      `found PV object ${found} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim`,
    );
  if (owner.uid !== claim.metadata?.uid)
    throw fail(
      `found PV object ${found} but its pv.Spec.ClaimRef.UID ${owner.uid} does not point to claim.UID ${claim.metadata?.uid}`,
    );
  const block = persistent.spec?.volumeMode === 'Block';
  checkMode(pod, volume.name, block);
  const readOnly = volume.persistentVolumeClaim?.readOnly === true;
  return { volume: volume.name, name: found, readOnly, block, persistent: trim(persistent), claim: trimClaim(claim) };
}

async function fetch<T>(
  path: string,
  failed: (why: string) => Error,
  { client, clock, signal }: ClaimContext,
): Promise<T> {
  try {
    return await onceAllowed(() => client.get<T>(path, { signal }), clock, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof KubeError) || error.status === 0) throw error;
    throw failed(describeError(error));
  }
}

function ownedBy(claim: PersistentVolumeClaim, pod: Pod): boolean {
  return (claim.metadata?.ownerReferences ?? []).some((ref) => ref.controller === true && ref.uid === pod.metadata.uid);
}

/** A file system is mounted, a device handed over; a container that wants the other of the two can't be made. */
function checkMode(pod: Pod, volume: string, block: boolean): void {
  const containers = containersOf(pod);
  const mode = block ? 'Block' : 'Filesystem';
  const fail = (where: string) =>
    volumeError('VOLUME_PROCESS', `volume ${volume} has volumeMode ${mode}, but is specified in ${where}`);
  if (block && containers.some((c) => c.volumeMounts?.some((m) => m.name === volume))) throw fail('volumeMounts');
  if (!block && containers.some((c) => c.volumeDevices?.some((d) => d.name === volume))) throw fail('volumeDevices');
}

/** What of the two is kept and written down: no annotations, no managed fields. */
function trim({ metadata, spec }: PersistentVolume): PersistentVolume {
  const gid = metadata?.annotations?.['pv.beta.kubernetes.io/gid'];
  return {
    metadata: {
      ...(metadata?.name ? { name: metadata.name } : {}),
      ...(gid ? { annotations: { 'pv.beta.kubernetes.io/gid': gid } } : {}),
    },
    ...(spec ? { spec } : {}),
  };
}

function trimClaim({ metadata = {}, spec, status }: PersistentVolumeClaim): PersistentVolumeClaim {
  const { name, namespace, uid } = metadata;
  return {
    metadata: { ...(name ? { name } : {}), ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) },
    ...(spec ? { spec } : {}),
    ...(status ? { status } : {}),
  };
}
