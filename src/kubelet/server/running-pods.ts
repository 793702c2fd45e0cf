import type { CriContainer } from '../../cri/types.ts';
import { POD_NAME, POD_NAMESPACE, POD_UID } from '../containers/labels.ts';
import type { ServerRuntime } from './pods.ts';

/** What /runningpods/ shows: the pods that have a running container, as the runtime's labels tell. */
export async function runningPods(runtime: Pick<ServerRuntime, 'listContainers'>): Promise<object[]> {
  const byPod = new Map<string, CriContainer[]>();
  for (const container of await runtime.listContainers()) {
    const uid = container.labels[POD_UID];
    if (container.state !== 'CONTAINER_RUNNING' || uid === undefined) continue;
    byPod.set(uid, [...(byPod.get(uid) ?? []), container]);
  }
  return [...byPod].map(([uid, containers]) => ({
    metadata: {
      name: containers[0]?.labels[POD_NAME] ?? '',
      namespace: containers[0]?.labels[POD_NAMESPACE] ?? '',
      uid,
    },
    spec: { containers: containers.map((c) => ({ name: c.metadata.name, image: c.imageRef, resources: {} })) },
    status: {},
  }));
}
