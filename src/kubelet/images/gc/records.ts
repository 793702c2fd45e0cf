import { parseImageReference } from '../../../core/index.ts';
import type { CriContainer, CriImage } from '../../../cri/types.ts';

/** What is known of an image's use. Monotonic milliseconds. */
export interface ImageRecord {
  /** Minus infinity for those that were there when the agent began to look. */
  firstSeen: number;
  /** Minus infinity: never seen in use. */
  lastUsed: number;
}

export type ImageRecords = Map<string, ImageRecord>;

export interface Observation {
  images: readonly CriImage[];
  /** Ids of the images in use. */
  used: ReadonlySet<string>;
  now: number;
  /** The first look of this agent: nobody knows since when they have been here. */
  first: boolean;
}

/** Takes note of which images are there and which are in use (kubelet image_gc_manager.go, detectImages). */
export function noteImages(records: ImageRecords, { images, used, now, first }: Observation): void {
  const ids = new Set(images.map((image) => image.id));
  for (const id of records.keys()) if (!ids.has(id)) records.delete(id);
  for (const { id } of images) {
    const known = records.get(id);
    const firstSeen = known?.firstSeen ?? (first ? Number.NEGATIVE_INFINITY : now);
    const lastUsed = used.has(id) ? now : (known?.lastUsed ?? Number.NEGATIVE_INFINITY);
    records.set(id, { firstSeen, lastUsed });
  }
}

/**
 * Ids of the images that containers were made of (dead ones too) or that pods are about to use. `wanted`: names as in pod
 * specs, or ids. A container names its image by id or by a digest, as the runtime likes.
 */
export function imagesInUse(
  images: readonly CriImage[],
  containers: readonly Pick<CriContainer, 'image' | 'imageRef'>[],
  wanted: Iterable<string>,
): Set<string> {
  const byName = new Map<string, string>();
  for (const { id, repoTags, repoDigests } of images)
    for (const name of [id, ...repoTags, ...repoDigests]) byName.set(name, id);
  const used = new Set<string>();
  const use = (name: string | undefined) => {
    const id = name === undefined ? undefined : byName.get(name);
    if (id !== undefined) used.add(id);
  };
  for (const { image, imageRef } of containers) for (const name of [imageRef, image.image]) use(name);
  for (const name of wanted) for (const full of [name, ...fullNames(name)]) use(full);
  return used;
}

function fullNames(text: string): string[] {
  const parsed = parseImageReference(text);
  if (!parsed.ok) return [];
  const { domain, path, tag, digest } = parsed.reference;
  const tagged = `${domain}/${path}:${tag ?? 'latest'}`;
  return digest === undefined ? [tagged] : [`${domain}/${path}@${digest}`];
}

export interface Candidate {
  image: CriImage;
  record: ImageRecord;
}

/** Unused images, the one not used for longest first; never a pinned one. */
export function candidates(records: ImageRecords, images: readonly CriImage[], used: ReadonlySet<string>): Candidate[] {
  return images
    .filter(({ id, pinned }) => !pinned && !used.has(id))
    .map((image) => ({ image, record: records.get(image.id) ?? { firstSeen: 0, lastUsed: 0 } }))
    .sort((a, b) => order(a.record.lastUsed, b.record.lastUsed) || order(a.record.firstSeen, b.record.firstSeen));
}

/** Infinities have no difference. */
function order(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
