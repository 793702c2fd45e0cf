import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../core/index.ts';
import { readState, readText, writeState } from '../../host/index.ts';

/** What a file of the images folder brought in, and how the file looked then. */
export interface FileRecord {
  readonly size: number;
  readonly mtimeMs: number;
  /** Image names → their digests; a digest is empty when another agent noted the name only. */
  readonly images: Readonly<Record<string, string>>;
}

/** By path. */
export type Records = Map<string, FileRecord>;

export interface RecordFiles {
  /** The agent's own. */
  readonly state: string;
  /** k3s's `.cache.json`, kept only if the user made one. */
  readonly cache: string;
}

export function recordFiles(imagesDir: string, containerdRoot: string): RecordFiles {
  return { state: join(containerdRoot, 'imported-images.json'), cache: join(imagesDir, '.cache.json') };
}

/** The agent's records; where it has none, k3s's (so that changing agents imports nothing twice). */
export async function readRecords(files: RecordFiles): Promise<Records> {
  const records: Records = new Map();
  for (const [path, entry] of Object.entries(parseCache(await readText(files.cache)))) records.set(path, entry);
  const own = await readState<Record<string, FileRecord>>(files.state);
  for (const [path, entry] of Object.entries(own ?? {})) records.set(path, entry);
  return records;
}

export async function writeRecords(files: RecordFiles, records: Records): Promise<void> {
  await writeState(files.state, Object.fromEntries([...records].sort(([a], [b]) => (a < b ? -1 : 1))));
  const old = await readText(files.cache);
  const text = JSON.stringify(
    Object.fromEntries(
      [...records].map(([path, { size, mtimeMs, images }]) => [
        path,
        { size, modTime: `${new Date(mtimeMs).toISOString().slice(0, 19)}Z`, images: Object.keys(images) },
      ]),
    ),
  );
  if (old === undefined || old === text) return;
  try {
    await writeFile(files.cache, text, { flag: 'r+' });
  } catch (error) {
    if (errorCode(error) !== 'EROFS' && errorCode(error) !== 'ENOENT') throw error;
  }
}

/** k3s: path → {size, modTime (whole seconds), images}. A broken or empty file is none. */
function parseCache(text: string | undefined): Record<string, FileRecord> {
  if (text === undefined || text.trim() === '') return {};
  try {
    const out: Record<string, FileRecord> = {};
    for (const [path, value] of Object.entries(JSON.parse(text) as Record<string, unknown>)) {
      const { size, modTime, images } = (value ?? {}) as { size?: unknown; modTime?: unknown; images?: unknown };
      if (typeof size !== 'number' || typeof modTime !== 'string' || !Array.isArray(images)) continue;
      const names = images.filter((name): name is string => typeof name === 'string');
      out[path] = { size, mtimeMs: Date.parse(modTime), images: Object.fromEntries(names.map((name) => [name, ''])) };
    }
    return out;
  } catch {
    return {};
  }
}

/** As the file was when it was recorded; k3s's times have whole seconds. */
export function unchanged(record: FileRecord, file: { size: number; mtimeMs: number }): boolean {
  return record.size === file.size && Math.trunc(record.mtimeMs / 1000) === Math.trunc(file.mtimeMs / 1000);
}
