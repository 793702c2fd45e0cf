import type { Pod, PodSpec, Volume } from '../../kube/index.ts';
import { containersOf } from '../containers/spec.ts';

/**
 * The first kind of API object that a pod refers to, in the words of upstream (pkg/api/pod/util.go), undefined if none:
 * a static pod runs before there is anybody to ask for them, and the server takes no mirror of one that does.
 */
export function apiReference(pod: Pod): string | undefined {
  const spec = pod.spec as PodSpec & { resourceClaims?: unknown[] };
  if (spec.serviceAccountName || spec.serviceAccount) return 'serviceaccounts';
  const containers = containersOf(pod);
  const uses = (kind: 'secret' | 'configMap') =>
    containers.some(
      ({ env = [], envFrom = [] }) =>
        env.some(({ valueFrom }) => valueFrom?.[`${kind}KeyRef`]) || envFrom.some((from) => from[`${kind}Ref`]),
    );
  if (spec.imagePullSecrets?.length || uses('secret')) return 'secrets';
  if (spec.volumes?.some((v) => v.secret || v.projected?.sources?.some((s) => s.secret))) return 'secrets';
  if (uses('configMap')) return 'configmaps';
  if (spec.volumes?.some((v) => v.configMap || v.projected?.sources?.some((s) => s.configMap))) return 'configmaps';
  if (spec.resourceClaims?.length) return 'resourceclaims';
  for (const volume of spec.volumes ?? []) {
    const found = volumeReference(volume);
    if (found !== undefined) return found;
  }
  return undefined;
}

function volumeReference(volume: Volume): string | undefined {
  if (volume.csi) return 'csidrivers (via CSI volumes)';
  if (volume.glusterfs) return 'endpoints (via glusterFS volumes)';
  if (volume.persistentVolumeClaim) return 'persistentvolumeclaims';
  if (volume.ephemeral) return 'persistentvolumeclaims (via ephemeral volumes)';
  if (volume.azureFile) return 'secrets (via azureFile volumes)';
  for (const source of volume.projected?.sources ?? []) {
    if (source.serviceAccountToken) return 'serviceaccounts (via projected volumes)';
    if ('clusterTrustBundle' in source) return 'clustertrustbundles';
    if ('podCertificate' in source) return 'podcertificates';
  }
  return undefined;
}
