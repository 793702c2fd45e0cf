import type { Records } from './records.ts';
import { extraNames, parseReference } from './reference.ts';
import type { ImageStore, StoredImage } from './store.ts';

/** How containerd's records are changed. */
export interface PinOptions {
  readonly store: ImageStore;
  readonly extraRegistries: readonly string[];
  readonly signal: AbortSignal;
}

const K3S_PIN = 'io.cattle.k3s.pinned';
const PINS = { [K3S_PIN]: 'pinned', 'io.cri-containerd.pinned': 'pinned' };

/** What follows an import: the pin, further names, and where the layers are said to come from. */
export async function fileImage(image: StoredImage, options: PinOptions): Promise<void> {
  const { store, extraRegistries, signal } = options;
  const pinned = { ...image, labels: { ...image.labels, ...PINS } };
  if (!isPinned(image)) await store.setLabels(image, pinned.labels, signal);
  for (const name of extraNames(image.name, image.target.digest, extraRegistries))
    await store.tag(pinned, name, signal);
  const reference = parseReference(image.name);
  if (!reference) return;
  const registries = [reference.registry, ...extraRegistries.map((r) => r.replace(/\/+$/, ''))];
  const sources = Object.fromEntries(registries.map((registry) => [registry, reference.path]));
  await store.labelSources(image, sources, signal);
}

/** At the first round: images whose file is gone lose their pin, those whose file is there have one. */
export async function fixPins(known: Records, options: PinOptions): Promise<void> {
  const { store, extraRegistries, signal } = options;
  const wanted = new Set(
    [...known.values()].flatMap(({ images }) =>
      Object.entries(images).flatMap(([name, digest]) => [name, ...extraNames(name, digest, extraRegistries)]),
    ),
  );
  for (const image of await store.list([], signal)) {
    const keep = wanted.has(image.name);
    if (keep && !isPinned(image)) await store.setLabels(image, { ...image.labels, ...PINS }, signal);
    if (keep || image.labels[K3S_PIN] === undefined) continue;
    const { [K3S_PIN]: _, 'io.cri-containerd.pinned': __, ...labels } = image.labels;
    await store.setLabels(image, labels, signal);
  }
}

function isPinned(image: StoredImage): boolean {
  return Object.entries(PINS).every(([key, value]) => image.labels[key] === value);
}
