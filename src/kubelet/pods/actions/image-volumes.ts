import type { Volume } from '../../../kube/index.ts';
import type { ActionContext } from '../actions.ts';
import type { SpecContainer } from '../model.ts';

interface ImageSource {
  reference?: string;
  pullPolicy?: string;
}

/**
 * Makes the images present that a container mounts as volumes (kuberuntime getImageVolumes), and gives what the runtime
 * knows them by, by volume name; undefined if it mounts none. Throws as a pull of the container's own image does.
 */
export async function imageVolumes(
  container: SpecContainer,
  context: ActionContext,
): Promise<ReadonlyMap<string, string> | undefined> {
  const { deps, reports, signal } = context;
  const pod = context.pod();
  const mounted = new Set((container.spec.volumeMounts ?? []).map(({ name }) => name));
  const found = new Map<string, string>();
  for (const volume of pod.spec.volumes ?? []) {
    const { image } = volume as Volume & { image?: ImageSource };
    if (!image || !mounted.has(volume.name)) continue;
    const made = await deps.images.ensure({
      pod,
      container: {
        name: volume.name,
        ...(image.reference === undefined ? {} : { image: image.reference }),
        ...(image.pullPolicy === undefined ? {} : { imagePullPolicy: image.pullPolicy }),
      },
      event: reports.pod,
      podEvent: reports.pod,
      signal,
    });
    found.set(volume.name, made.id);
  }
  return found.size > 0 ? found : undefined;
}
