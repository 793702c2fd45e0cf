import { formatAmount, parseQuantity } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { podLimits } from '../containers/resources.ts';
import { type PodDisk, sumDisk } from './pod-disk.ts';

const STORAGE = 'ephemeral-storage';

/** True if something of the pod may only take so much of the disk: others are never measured. */
export function hasStorageLimit(pod: Pod): boolean {
  return (
    (pod.spec.volumes ?? []).some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined && !emptyDir.medium) ||
    [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].some(
      (container) => container.resources?.limits?.[STORAGE] !== undefined,
    )
  );
}

/**
 * Upstream's text for the first limit of local storage that the pod broke (eviction_manager.go, localStorageEviction);
 * undefined if it broke none. Writable layers that lie with images on a disk of their own do not count for a container.
 */
export function brokenStorageLimit(pod: Pod, disk: PodDisk, options: { imageFilesystem: boolean }): string | undefined {
  for (const { name, emptyDir } of pod.spec.volumes ?? []) {
    const limit = amount(emptyDir?.sizeLimit);
    const used = disk.volumes.find((volume) => volume.name === name)?.use.bytes ?? 0;
    if (limit > 0 && used > limit)
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${emptyDir?.sizeLimit}". `;
  }
  const whole = wholeLimit(pod);
  if (whole !== undefined && sumDisk(disk, 'all').bytes > whole.bytes)
    return `Pod ephemeral local storage usage exceeds the total limit of containers ${whole.text}. `;
  for (const { name, root, logs } of disk.containers) {
    const text = pod.spec.containers.find((container) => container.name === name)?.resources?.limits?.[STORAGE];
    const limit = amount(text);
    const used = logs.bytes + (options.imageFilesystem ? 0 : root.bytes);
    if (limit > 0 && used > limit) return `Container ${name} exceeded its local ephemeral storage limit "${text}". `;
  }
  return undefined;
}

function wholeLimit(pod: Pod): { bytes: number; text: string } | undefined {
  try {
    const bytes = podLimits(pod).get(STORAGE);
    if (bytes === undefined) return undefined;
    const texts = pod.spec.containers.map((c) => c.resources?.limits?.[STORAGE]).filter((text) => text !== undefined);
    return { bytes, text: texts.length === 1 ? String(texts[0]) : formatAmount(bytes) };
  } catch {
    return undefined;
  }
}

/** 0 for what is not there or can't be read: it limits nothing. */
function amount(text: string | number | undefined): number {
  try {
    return text === undefined ? 0 : parseQuantity(text);
  } catch {
    return 0;
  }
}
