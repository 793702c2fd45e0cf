import { open } from 'node:fs/promises';
import { Transform, type TransformCallback } from 'node:stream';
import { normalizeImage } from './reference.ts';

const BLOCK = 512;
/** Lists of names are kilobytes; what is larger is not one. */
const MAX_LIST = 8 * 1024 * 1024;

/**
 * Passes a tar archive through and notes the image names it declares: docker-archive's manifest.json, OCI's index.json.
 * Only these two small files are held in memory. A stream that is no tar passes too; containerd then says what is wrong.
 */
export class ArchiveNames extends Transform {
  #header = Buffer.alloc(BLOCK);
  #have = 0;
  /** Bytes of the current entry, padding included, still to come. */
  #left = 0;
  #list: { name: string; size: number; parts: Buffer[] } | undefined;
  #over = false;
  readonly #names = new Set<string>();

  names(): string[] {
    return [...this.#names];
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    if (!this.#over) this.#scan(chunk);
    done(null, chunk);
  }

  #scan(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const take = Math.min(this.#left, chunk.length - at);
        this.#list?.parts.push(Buffer.from(chunk.subarray(at, at + take)));
        this.#left -= take;
        at += take;
        if (this.#left === 0) this.#finish();
        continue;
      }
      const take = Math.min(BLOCK - this.#have, chunk.length - at);
      chunk.copy(this.#header, this.#have, at, at + take);
      this.#have += take;
      at += take;
      if (this.#have < BLOCK) return;
      this.#have = 0;
      this.#enter();
      if (this.#over) return;
    }
  }

  #enter(): void {
    const entry = readHeader(this.#header);
    if (entry === 'padding') return;
    if (entry === undefined) {
      this.#over = true;
      return;
    }
    this.#left = Math.ceil(entry.size / BLOCK) * BLOCK;
    this.#list = entry.list ? { name: entry.name, size: entry.size, parts: [] } : undefined;
  }

  #finish(): void {
    const list = this.#list;
    this.#list = undefined;
    if (!list) return;
    const text = Buffer.concat(list.parts).toString('utf8', 0, list.size);
    for (const name of namesOf(list.name, text)) this.#names.add(name);
  }
}

/** The names in an archive that is not compressed, by reading its headers and the lists alone. */
export async function readArchiveNames(path: string): Promise<string[]> {
  const names = new Set<string>();
  const file = await open(path, 'r');
  try {
    const header = Buffer.alloc(BLOCK);
    for (let at = 0; (await file.read(header, 0, BLOCK, at)).bytesRead === BLOCK; at += BLOCK) {
      const entry = readHeader(header);
      if (entry === undefined) break;
      if (entry === 'padding') continue;
      if (entry.list) {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(entry.size), 0, entry.size, at + BLOCK);
        for (const name of namesOf(entry.name, buffer.toString('utf8', 0, bytesRead))) names.add(name);
      }
      at += Math.ceil(entry.size / BLOCK) * BLOCK;
    }
  } finally {
    await file.close();
  }
  return [...names];
}

/** `list`: the entry is one of the two lists. Undefined: this is no tar. */
function readHeader(header: Buffer): { name: string; size: number; list: boolean } | 'padding' | undefined {
  if (header[0] === 0) return 'padding'; // between or after entries
  const size = sizeOf(header);
  if (size === undefined) return undefined;
  const name = header.toString('latin1', 0, 100).replace(/\0.*$/s, '').replace(/^\.\//, '');
  const plain = header[156] === 0 || header[156] === 0x30;
  return { name, size, list: plain && (name === 'manifest.json' || name === 'index.json') && size <= MAX_LIST };
}

function namesOf(list: string, text: string): string[] {
  return list === 'manifest.json' ? dockerNames(text) : ociNames(text);
}

/** Octal, or GNU's base-256 for what octal can't hold; undefined if it is neither: then this is no tar. */
function sizeOf(header: Buffer): number | undefined {
  if (((header[124] as number) & 0x80) !== 0) {
    const size = Number(header.readBigUInt64BE(128));
    return Number.isSafeInteger(size) ? size : undefined;
  }
  const text = header
    .toString('latin1', 124, 136)
    .replace(/[\0 ]+$/, '')
    .trim();
  return /^[0-7]*$/.test(text) ? Number.parseInt(text || '0', 8) : undefined;
}

function dockerNames(text: string): string[] {
  const list = json(text);
  if (!Array.isArray(list)) return [];
  return list
    .flatMap((entry: { RepoTags?: unknown }) => (Array.isArray(entry?.RepoTags) ? entry.RepoTags : []))
    .filter((name): name is string => typeof name === 'string')
    .map(normalizeImage);
}

/** A reference that is only a tag (`1.36`) names nothing by itself. */
function ociNames(text: string): string[] {
  const manifests = (json(text) as { manifests?: unknown } | undefined)?.manifests;
  if (!Array.isArray(manifests)) return [];
  return manifests.flatMap((entry: { annotations?: Record<string, unknown> }) => {
    const full = entry?.annotations?.['io.containerd.image.name'];
    if (typeof full === 'string' && full !== '') return [full];
    const reference = entry?.annotations?.['org.opencontainers.image.ref.name'];
    return typeof reference === 'string' && /[/:@]/.test(reference) ? [reference] : [];
  });
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
