import type { ConfigMap, KeyToPath, Secret } from '../../kube/index.ts';
import type { Referenced } from '../references/index.ts';
import { volumeError } from './errors.ts';

/** One file of a volume. */
export interface PayloadFile {
  data: Buffer;
  /** Permission bits. */
  mode: number;
  /** Owner; root when left out. */
  uid?: number;
}

/** A volume's files by path relative to its root. */
export type Payload = Map<string, PayloadFile>;

export const DEFAULT_MODE = 0o644;

/** The files of a ConfigMap or Secret. Throws `VOLUME_REFERENCE` with upstream's text for an absent key. */
export function objectPayload(
  kind: 'ConfigMap' | 'Secret',
  object: Referenced,
  options: { items?: readonly KeyToPath[] | undefined; defaultMode?: number | undefined; optional: boolean },
): Payload {
  const mode = options.defaultMode ?? DEFAULT_MODE;
  const content = contentOf(kind, object);
  const out: Payload = new Map();
  if (!options.items || options.items.length === 0) {
    for (const [key, data] of content) out.set(safePath(key), { data, mode });
    return out;
  }
  for (const item of options.items) {
    const data = content.get(item.key);
    if (data !== undefined) out.set(safePath(item.path), { data, mode: item.mode ?? mode });
    else if (!options.optional)
      throw volumeError(
        'VOLUME_REFERENCE',
        kind === 'ConfigMap'
          ? `configmap references non-existent config key: ${item.key}`
          : `references non-existent secret key: ${item.key}`,
      );
  }
  return out;
}

function contentOf(kind: 'ConfigMap' | 'Secret', object: Referenced): Map<string, Buffer> {
  const out = new Map<string, Buffer>();
  if (kind === 'Secret') {
    for (const [key, value] of Object.entries((object as Secret).data ?? {}))
      out.set(key, Buffer.from(value, 'base64'));
    return out;
  }
  const { data, binaryData } = object as ConfigMap;
  for (const [key, value] of Object.entries(data ?? {})) out.set(key, Buffer.from(value, 'utf8'));
  for (const [key, value] of Object.entries(binaryData ?? {})) out.set(key, Buffer.from(value, 'base64'));
  return out;
}

/** A path inside the volume: relative, no `..`, none of the names the writer uses itself. Throws `VOLUME_SETUP`. */
export function safePath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const wrong = faultOf(path, parts);
  if (wrong !== undefined) throw volumeError('VOLUME_SETUP', `invalid path: ${wrong}`);
  return parts.join('/');
}

/** In upstream's words (volume/util/atomic_writer.go). */
function faultOf(path: string, parts: readonly string[]): string | undefined {
  const shown = path.slice(0, 256);
  if (parts.length === 0) return `must not be empty: "${shown}"`;
  if (path.startsWith('/')) return `must be relative path: ${shown}`;
  if (path.length > 4096) return 'must be less than or equal to 4096 characters';
  if (parts.includes('..')) return `must not contain '..': ${shown}`;
  if (parts.some((part) => Buffer.byteLength(part) > 255))
    return 'filenames must be less than or equal to 255 characters';
  if (parts[0]?.startsWith('..')) return `must not start with '..': ${shown}`;
  return path.includes('\0') ? `must not contain a zero byte: ${JSON.stringify(shown)}` : undefined;
}
