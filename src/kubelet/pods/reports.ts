import type { EventRecorder, ObjectReference, Pod } from '../../kube/index.ts';
import { fieldPathOf, type SpecContainer } from './model.ts';

export type EventType = 'Normal' | 'Warning';

/** Events about one pod and its containers. */
export interface PodReports {
  pod(type: EventType, reason: string, message: string): void;
  container(container: SpecContainer, type: EventType, reason: string, message: string): void;
}

export function podReports(recorder: EventRecorder, current: () => Pod): PodReports {
  const reference = () => podReference(current());
  return {
    pod: (type, reason, message) => recorder.event(reference(), type, reason, message),
    container: (container, type, reason, message) =>
      recorder.event({ ...reference(), fieldPath: fieldPathOf(container) }, type, reason, message),
  };
}

export function podReference({ metadata }: Pod): ObjectReference {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    ...(metadata.resourceVersion ? { resourceVersion: metadata.resourceVersion } : {}),
  };
}
