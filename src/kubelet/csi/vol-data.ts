import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readText, writeFileAtomic } from '../../host/index.ts';

/** What `vol_data.json` says of a volume; all of it text, as the original writes it. */
export interface VolumeData {
  driverName: string;
  volumeHandle: string;
  specVolID?: string;
  nodeName?: string;
  attachmentID?: string;
  /** `Persistent` or `Ephemeral`. */
  volumeLifecycleMode?: string;
}

const FILE = 'vol_data.json';

/** Written before the driver is asked, so that whatever a crash leaves can be undone. */
export async function writeVolumeData(directory: string, data: VolumeData): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o750 });
  const sorted = Object.fromEntries(Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1)));
  const text = `${JSON.stringify(sorted)}\n`;
  if ((await readText(join(directory, FILE))) !== text) await writeFileAtomic(join(directory, FILE), text);
}

/** Undefined if there is none, or one that a power cut left in pieces. */
export async function readVolumeData(directory: string): Promise<VolumeData | undefined> {
  const text = await readText(join(directory, FILE));
  if (text === undefined) return undefined;
  try {
    const data = JSON.parse(text) as VolumeData;
    return typeof data?.driverName === 'string' && typeof data.volumeHandle === 'string' ? data : undefined;
  } catch {
    return undefined;
  }
}
