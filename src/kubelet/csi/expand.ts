import { describeError, isAbort, parseQuantity } from '../../core/index.ts';
import type { PersistentVolumeClaim } from '../../kube/index.ts';
import { mountFailure } from '../volumes/errors.ts';
import type { CsiContext, CsiVolume } from './context.ts';
import { capabilityOf, isReadOnly, secretsFor } from './requests.ts';

/** Where the volume is, for the driver to find it. */
export interface ExpandPlace {
  volumePath: string;
  stagingPath: string;
}

/**
 * Has the driver grow what lies on a volume that was made larger, and says so in the claim's status (kubelet
 * node_expander.go). True if there was something to do. Throws `VOLUME_RESIZE` with upstream's text.
 */
export async function expandIfLarger(volume: CsiVolume, place: ExpandPlace, context: CsiContext): Promise<boolean> {
  const { spec, driver: name, handle, pod, signal } = volume;
  const wanted = spec.persistent?.spec?.capacity?.storage;
  const has = spec.claim?.status?.capacity?.storage;
  if (wanted === undefined || has === undefined || isReadOnly(spec)) return false;
  const bytes = parseQuantity(wanted);
  if (!(bytes > parseQuantity(has))) return false;
  try {
    const driver = context.drivers.get(name);
    if (await driver.can('EXPAND_VOLUME', signal))
      await driver.expand(
        {
          volumeId: handle,
          volumePath: place.volumePath,
          stagingPath: place.stagingPath,
          range: { requiredBytes: Math.ceil(bytes) },
          capability: await capabilityOf(volume, driver),
          secrets: await secretsFor(spec.persistent?.spec?.csi?.nodeExpandSecretRef, context, signal),
        },
        signal,
      );
    await markExpanded(spec.claim as PersistentVolumeClaim, wanted, context, signal);
  } catch (error) {
    if (isAbort(error) || signal.aborted) throw error;
    context.node.event(pod, {
      type: 'Warning',
      reason: 'VolumeResizeFailed',
      message: `NodeExpandVolume.NodeExpandVolume failed for volume "${spec.name}" : ${describeError(error)}`.slice(
        0,
        1024,
      ),
    });
    throw mountFailure('MountVolume.Setup failed while expanding volume', spec.name, error);
  }
  context.node.event(pod, {
    type: 'Normal',
    reason: 'FileSystemResizeSuccessful',
    message: `MountVolume.NodeExpandVolume succeeded for volume "${spec.name}" ${context.nodeName}`,
  });
  return true;
}

async function markExpanded(
  claim: PersistentVolumeClaim,
  storage: string | number,
  { node }: CsiContext,
  signal: AbortSignal,
): Promise<void> {
  const { namespace = '', name = '' } = claim.metadata ?? {};
  const status = (claim.status ?? {}) as Record<string, unknown> & { conditions?: { type: string }[] };
  const over = ['FileSystemResizePending', 'Resizing', 'NodeResizeError', 'ControllerResizeError'];
  const conditions = (status.conditions ?? []).filter((c) => !over.includes(c.type));
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/persistentvolumeclaims/${encodeURIComponent(name)}/status`;
  const patch = {
    status: {
      capacity: { storage },
      conditions: conditions.length > 0 ? conditions : null,
      ...(status.allocatedResourceStatuses === undefined ? {} : { allocatedResourceStatuses: null }),
    },
  };
  await node.client.patch(path, 'merge', patch, { signal });
}
