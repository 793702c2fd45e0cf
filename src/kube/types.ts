import type {
  Container as BaseContainer,
  ContainerStatus as BaseContainerStatus,
  Node as BaseNode,
  Pod as BasePod,
  PodCondition as BasePodCondition,
  PodSpec as BasePodSpec,
  PodStatus as BasePodStatus,
  Service as BaseService,
} from 'kubernetes-types/core/v1.d.ts';
import type { ObjectMeta } from 'kubernetes-types/meta/v1.d.ts';

/**
 * Types of API objects. They describe what a valid server sends; nothing at run time enforces them, so code that acts
 * on a field checks it first. Fields newer than the kubernetes-types package are added here.
 */
export type { Lease } from 'kubernetes-types/coordination/v1.d.ts';
export type {
  ConfigMap,
  ContainerState,
  EnvFromSource,
  EnvVar,
  EphemeralContainer,
  Event,
  KeyToPath,
  NodeAddress,
  NodeCondition,
  NodeStatus,
  NodeSystemInfo,
  PersistentVolume,
  PersistentVolumeClaim,
  PodSecurityContext,
  Probe,
  ResourceRequirements,
  Secret,
  SecurityContext,
  Taint,
  Toleration,
  Volume,
  VolumeMount,
} from 'kubernetes-types/core/v1.d.ts';
export type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
export type { ObjectMeta } from 'kubernetes-types/meta/v1.d.ts';

/** What every object has. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

export type Container = BaseContainer;
export type PodCondition = BasePodCondition & { observedGeneration?: number };
export type ContainerStatus = BaseContainerStatus & {
  user?: { linux?: { uid: number; gid: number; supplementalGroups?: number[] } };
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean; recursiveReadOnly?: string }[];
};
export type PodSpec = BasePodSpec;
export type PodStatus = Omit<
  BasePodStatus,
  'conditions' | 'containerStatuses' | 'initContainerStatuses' | 'ephemeralContainerStatuses'
> & {
  conditions?: PodCondition[];
  containerStatuses?: ContainerStatus[];
  initContainerStatuses?: ContainerStatus[];
  ephemeralContainerStatuses?: ContainerStatus[];
  observedGeneration?: number;
};
/** A Pod as stored: metadata and spec are always there. */
export type Pod = Omit<BasePod, 'metadata' | 'spec' | 'status'> & {
  metadata: ObjectMeta;
  spec: PodSpec;
  status?: PodStatus;
};
export type Service = Omit<BaseService, 'metadata'> & { metadata: ObjectMeta };
export type Node = Omit<BaseNode, 'metadata'> & { metadata: ObjectMeta };

/** `namespace/name`, or `name` for cluster-wide objects: the key of stores and logs. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : (name ?? '');
}
