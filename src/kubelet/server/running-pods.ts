import type { CriContainer } from '../../cri/types.ts';
import type { ServerRuntime } from './pods.ts';

/** What /runningpods/ shows: the pods that have a running container, as the runtime's labels tell. */
export async function runningPods(runtime: Pick<ServerRuntime, 'listContainers'>): Promise<object[]> {
  const byPod = new Map<string, CriContainer[]>();
  for (const container of await runtime.listContainers()) {
    const uid = container.labels['io.kubernetes.pod.uid'];
    if (container.state !== 'CONTAINER_RUNNING' || uid === undefined) continue;
    byPod.set(uid, [...(byPod.get(uid) ?? []), container]);
  }
  return [...byPod].map(([uid, containers]) => ({
    metadata: {
      name: containers[0]?.labels['io.kubernetes.pod.name'] ?? '',
      namespace: containers[0]?.labels['io.kubernetes.pod.namespace'] ?? '',
      uid,
    },
    spec: { containers: containers.map((c) => ({ name: c.metadata.name, image: c.imageRef, resources: {} })) },
    status: {},
  }));
}
