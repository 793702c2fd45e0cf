import { abortError } from '../core/index.ts';
import type { Cri, RuntimeService } from '../cri/index.ts';

/**
 * Waits while air-gap archives are still being imported, until this image is among what has arrived or all have. A pod
 * that is asked for in the board's first second would else fail to pull what lies on its own disk.
 */
export async function imageArrival(cri: Cri, image: string, signal?: AbortSignal): Promise<void> {
  while (cri.importer.busy()) {
    if (await cri.images.imageStatus(image, signal ? { signal } : {})) return;
    await new Promise<void>((resolve, reject) => {
      let unsubscribe = () => {};
      const done = () => {
        unsubscribe();
        signal?.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        unsubscribe();
        reject(abortError());
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      unsubscribe = cri.events.subscribe((event) => event.type === 'images' && done());
      void cri.importer.imagesReady.then(done);
    });
  }
}

/** The runtime, but a sandbox waits for its pause image if that is on its way. */
export function patientRuntime(cri: Cri, pauseImage: string): RuntimeService {
  return {
    ...cri.runtime,
    async runPodSandbox(config, handler, options) {
      await imageArrival(cri, pauseImage, options?.signal);
      return cri.runtime.runPodSandbox(config, handler, options);
    },
  };
}
