import { AgentError, isAbort } from '../../core/index.ts';
import { readText } from '../../host/index.ts';
import type { AuthConfig, ImageService } from '../types.ts';
import { normalizeImage } from './reference.ts';

export interface PullListOptions {
  readonly images: Pick<ImageService, 'imageStatus' | 'pullImage'>;
  readonly authFor: (image: string) => AuthConfig[];
  readonly signal: AbortSignal;
}

/** Pulls what a list names (one image a line, `#` begins a comment) and is not there. Resolves with the names in full. */
export async function pullList(path: string, options: PullListOptions): Promise<string[]> {
  const { images, authFor, signal } = options;
  const text = (await readText(path)) ?? '';
  const names = text.split('\n').map((line) => line.trim());
  const wanted = names.filter((line) => line !== '' && !line.startsWith('#')).map(normalizeImage);
  for (const image of wanted) {
    if (await images.imageStatus(image, { signal })) continue;
    const auths = [...authFor(image), undefined];
    let failure: unknown;
    for (const auth of auths) {
      try {
        await images.pullImage({ image }, auth, undefined, { signal });
        failure = undefined;
        break;
      } catch (error) {
        if (isAbort(error)) throw error;
        failure ??= error;
      }
    }
    if (failure !== undefined)
      throw new AgentError({ code: 'IMAGE_PULL_FAILED', message: `${image} can't be pulled`, cause: failure });
  }
  return wanted;
}
