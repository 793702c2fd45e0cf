import { ImageError } from '../../images/index.ts';
import type { ActionContext } from '../actions.ts';
import { findContainer } from '../model.ts';
import { imageVolumes } from './image-volumes.ts';

/** Makes a container's image present; what goes wrong becomes its waiting reason. */
export async function pullImage(name: string, context: ActionContext): Promise<void> {
  const { deps, memory, reports, signal } = context;
  const pod = context.pod();
  const container = findContainer(pod, name);
  if (container === undefined) return;
  try {
    const image = await deps.images.ensure({
      pod,
      container: container.spec,
      event: (type, reason, message) => reports.container(container, type, reason, message),
      podEvent: reports.pod,
      signal,
    });
    const volumes = await imageVolumes(container, context);
    memory.images.set(name, { ref: image.id, uid: image.uid?.value, username: image.username, volumes });
    memory.waiting.delete(name);
  } catch (error) {
    if (error instanceof ImageError) {
      memory.waiting.set(name, { reason: error.code, message: error.message });
      reports.container(container, 'Warning', 'Failed', `Error: ${error.code}`);
    }
    throw error;
  }
}
