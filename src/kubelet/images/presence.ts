import type { CriImage, ImageService } from '../../cri/types.ts';

/** Enough for every image a board runs; the oldest answer goes first. */
const MAX_KEPT = 256;

/**
 * Which images the runtime has. One question per image until something happens to images (`changed`), so that 40 pods
 * of one image cost one call.
 */
export class ImagePresence {
  readonly #service: ImageService;
  readonly #known = new Map<string, Promise<CriImage | undefined>>();

  constructor(service: ImageService) {
    this.#service = service;
  }

  find(image: string, signal?: AbortSignal): Promise<CriImage | undefined> {
    const kept = this.#known.get(image);
    if (kept) return kept;
    const answer = this.#service.imageStatus(image, signal ? { signal } : {});
    this.#known.set(image, answer);
    if (this.#known.size > MAX_KEPT) this.#known.delete(this.#known.keys().next().value as string);
    const forget = () => {
      if (this.#known.get(image) === answer) this.#known.delete(image);
    };
    // An absent image is asked for again: an import need not announce itself.
    answer.then((found) => found === undefined && forget(), forget);
    return answer;
  }

  /** Images were pulled, imported or removed. */
  changed(): void {
    this.#known.clear();
  }
}
