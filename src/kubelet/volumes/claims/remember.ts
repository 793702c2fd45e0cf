import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readText, writeIfChanged } from '../../../host/index.ts';
import type { Layout } from '../layout.ts';
import type { StorageSpec } from './spec.ts';

/*
 * What a pod's claims led to, kept in memory beside its other files: an agent that is restarted while the server is away
 * goes on with the volumes its pods have.
 */

const file = (layout: Layout, podUid: string, volume: string) => join(layout.memoryVolumeDir(podUid, 'claims', volume));

export async function rememberClaim(layout: Layout, podUid: string, spec: StorageSpec): Promise<void> {
  const path = `${file(layout, podUid, spec.volume)}.json`;
  await mkdir(dirname(path), { recursive: true });
  await writeIfChanged(path, JSON.stringify(spec), 0o600);
}

export async function rememberedClaim(
  layout: Layout,
  podUid: string,
  volume: string,
): Promise<StorageSpec | undefined> {
  const text = await readText(`${file(layout, podUid, volume)}.json`);
  if (text === undefined) return undefined;
  try {
    const spec = JSON.parse(text) as StorageSpec;
    return spec?.volume === volume && typeof spec.name === 'string' ? spec : undefined;
  } catch {
    return undefined;
  }
}
