import { realpath, stat } from 'node:fs/promises';
import type { CriImage, ImageService } from '../../../cri/types.ts';
import type { FilesystemUse } from '../../../hardware/index.ts';
import { diskUsage } from '../../eviction/disk-usage.ts';

export interface FillsInput {
  images: readonly CriImage[];
  used: ReadonlySet<string>;
  /** The file system of the images. */
  disk: FilesystemUse;
  service: Pick<ImageService, 'imageFsInfo'>;
  /** Folders to measure that may lie on that disk, such as the pods' logs; by what to call them. */
  folders: Readonly<Record<string, string>>;
  /** Path on the disk itself: folders on another one do not count. */
  root: string;
}

/** Enough for any board; whoever has more files than that gets a lower bound. */
const MAX_FILES = 50_000;

/**
 * Says in a sentence or two what fills the disk, the biggest first: where all images are in use, freeing space is up to
 * a person, who wants to know where to begin.
 */
export async function whatFills({ images, used, disk, service, folders, root }: FillsInput): Promise<string> {
  const total = disk.total - disk.available;
  const { imageFilesystems } = await service.imageFsInfo().catch(() => ({ imageFilesystems: [] }));
  const unpacked = imageFilesystems.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const packed = images.reduce((sum, { size }) => sum + size, 0);
  const parts: [string, number][] = [
    ['unpacked images and what containers wrote', unpacked],
    ['downloaded image layers', packed],
  ];
  const device = (await stat(root).catch(() => undefined))?.dev;
  for (const [name, path] of Object.entries(folders)) parts.push([name, await sizeOf(path, device)]);
  const rest = total - parts.reduce((sum, [, size]) => sum + size, 0);
  if (rest > 0) parts.push(['other files', rest]);
  const shown = parts.filter(([, size]) => size > total / 100).sort((a, b) => b[1] - a[1]);
  const biggest = images
    .filter(({ id }) => used.has(id))
    .sort((a, b) => b.size - a.size)
    .slice(0, 3)
    .map((image) => `${image.repoTags[0] ?? image.repoDigests[0] ?? image.id} ${mebibytes(image.size)}`);
  const of = `Of ${mebibytes(disk.total)}, ${mebibytes(total)} are used: `;
  const list = shown.map(([name, size]) => `${name} ${mebibytes(size)}`).join(', ');
  return `${of}${list}.${biggest.length > 0 ? ` Biggest images in use: ${biggest.join(', ')}.` : ''}`;
}

/** Bytes of a folder if it lies on that device; what can't be measured is among the other files. */
async function sizeOf(path: string, device: number | undefined): Promise<number> {
  try {
    if (device !== undefined && (await stat(path)).dev !== device) return 0;
    return (await diskUsage(await realpath(path), { maxFiles: MAX_FILES })).bytes;
  } catch {
    return 0;
  }
}

function mebibytes(bytes: number): string {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.max(1, Math.round(bytes / 2 ** 20))} MiB`;
}
