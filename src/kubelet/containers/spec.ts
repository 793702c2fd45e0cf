import type {
  Container,
  EphemeralContainer,
  Pod,
  PodSecurityContext,
  PodSpec,
  ResourceRequirements,
  SecurityContext,
  VolumeMount,
} from '../../kube/index.ts';

/** Fields of the Pod API that are newer than the types package; all optional, none trusted. */
export type NewPodSpec = PodSpec & {
  hostnameOverride?: string;
  resources?: ResourceRequirements;
  securityContext?: PodSecurityContext & {
    supplementalGroupsPolicy?: 'Merge' | 'Strict';
    seLinuxChangePolicy?: string;
  };
};
export type AnyContainer = (Container | EphemeralContainer) & { lifecycle?: { stopSignal?: string } };
export type NewVolumeMount = VolumeMount & { recursiveReadOnly?: string };
export type { SecurityContext };

export function specOf(pod: Pod): NewPodSpec {
  return pod.spec as NewPodSpec;
}

/** All of them, in the order of their kinds. */
export function containersOf({ spec }: Pod): AnyContainer[] {
  return [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
}

/** `name_namespace(uid)`: how upstream's texts name a pod. */
export function podLongName(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
}

export function isSidecar(container: AnyContainer): boolean {
  return container.restartPolicy === 'Always';
}

/** Where the pod was read from, as the `kubernetes.io/config.source` annotation says; static pods come from files. */
export function isStaticPod(pod: Pod): boolean {
  const source = pod.metadata.annotations?.['kubernetes.io/config.source'];
  return source !== undefined && source !== 'api';
}

/** An object that shows a static pod of some node; nothing runs for it. */
export function isMirrorPod(pod: Pod): boolean {
  return pod.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined;
}

/** kubelet pkg/kubelet/types/pod_update.go: static, mirror, or of a system priority. */
export function isCriticalPod(pod: Pod): boolean {
  return isStaticPod(pod) || isMirrorPod(pod) || (pod.spec.priority ?? 0) >= 2_000_000_000;
}
