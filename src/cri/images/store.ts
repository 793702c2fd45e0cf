import { errorCode } from '../../core/index.ts';
import { type Connection, inNamespace, type Method, methodsOf } from '../client/connection.ts';
import { containerdSchema } from '../proto/containerd.ts';

/** An image record of containerd (not CRI's view: one record a name). */
export interface StoredImage {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly target: { mediaType: string; digest: string; size: number };
}

/** containerd's image records and content, in one namespace. Errors as the CRI client's. */
export interface ImageStore {
  /** `filters`: containerd's filter language, any of them; none: all. */
  list(filters: readonly string[], signal: AbortSignal): Promise<StoredImage[]>;
  setLabels(image: StoredImage, labels: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void>;
  /** Makes the name stand for the image, whatever it stood for before. */
  tag(image: StoredImage, name: string, signal: AbortSignal): Promise<void>;
  hasContent(digest: string, signal: AbortSignal): Promise<boolean>;
  /** What is being downloaded or was cut off: bytes there, bytes in all (0: not known). */
  downloads(signal: AbortSignal): Promise<{ ref: string; offset: number; total: number }[]>;
  /** Labels the blobs of an image (configuration and layers) as coming from these registries. */
  labelSources(image: StoredImage, sources: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void>;
}

const images = methodsOf('containerd.services.images.v1.Images', containerdSchema);
const content = methodsOf('containerd.services.content.v1.Content', containerdSchema);
const LIST = images('List', 'ListImagesRequest', 'ListImagesResponse');
const CREATE = images('Create', 'ImageRequest');
const UPDATE = images('Update', 'ImageRequest');
const INFO = content('Info', 'InfoRequest', 'InfoResponse');
const UPDATE_INFO = content('Update', 'UpdateInfoRequest');
const STATUSES = content('ListStatuses', 'ListStatusesRequest', 'ListStatusesResponse');
const READ = content('Read', 'ReadRequest', 'ReadResponse');

const MAX_MANIFEST = 4 * 1024 * 1024;

export function createImageStore(connection: Connection, namespace: string): ImageStore {
  const call = (m: Method, request: object, signal: AbortSignal) =>
    connection.unary(m, request, { signal, headers: inNamespace(namespace) });

  const readJson = async (digest: string, signal: AbortSignal): Promise<Manifest | undefined> => {
    const parts: Buffer[] = [];
    let size = 0;
    const over = new AbortController();
    await connection.stream(
      READ,
      { digest },
      {
        signal: AbortSignal.any([signal, over.signal]),
        headers: inNamespace(namespace),
        onMessage: (message) => {
          const { data } = message as { data: Buffer };
          size += data.length;
          if (size > MAX_MANIFEST) over.abort();
          else parts.push(data);
        },
      },
    );
    return JSON.parse(Buffer.concat(parts).toString()) as Manifest;
  };

  /** Blobs of an image or of an index's images; those that are not here are left out. */
  const blobs = async (digest: string, depth: number, signal: AbortSignal): Promise<string[]> => {
    try {
      const manifest = await readJson(digest, signal);
      if (depth < 2 && Array.isArray(manifest?.manifests)) {
        const out: string[] = [];
        for (const child of manifest.manifests.slice(0, 64))
          out.push(...(await blobs(child.digest, depth + 1, signal)));
        return out;
      }
      return [manifest?.config, ...(manifest?.layers ?? [])].flatMap((d) => (d?.digest ? [d.digest] : []));
    } catch {
      if (signal.aborted) throw signal.reason;
      return [];
    }
  };

  return {
    list: async (filters, signal) => ((await call(LIST, { filters }, signal)) as { images: StoredImage[] }).images,
    async setLabels({ name, target }, labels, signal) {
      await call(UPDATE, { image: { name, target, labels }, updateMask: { paths: ['labels'] } }, signal);
    },
    async tag({ target, labels }, name, signal) {
      const request = { image: { name, target, labels } };
      try {
        await call(CREATE, request, signal);
      } catch (error) {
        if (errorCode(error) !== 'CRI_ALREADY_EXISTS') throw error;
        await call(UPDATE, { ...request, updateMask: { paths: ['target', 'labels'] } }, signal);
      }
    },
    async hasContent(digest, signal) {
      try {
        await call(INFO, { digest }, signal);
        return true;
      } catch (error) {
        if (errorCode(error) === 'CRI_NOT_FOUND') return false;
        throw error;
      }
    },
    async downloads(signal) {
      const { statuses } = (await call(STATUSES, {}, signal)) as {
        statuses: { ref: string; offset: number; total: number }[];
      };
      return statuses.map(({ ref, offset, total }) => ({ ref, offset, total }));
    },
    async labelSources(image, sources, signal) {
      const labels = Object.fromEntries(
        Object.entries(sources).map(([registry, path]) => [`containerd.io/distribution.source.${registry}`, path]),
      );
      const paths = Object.keys(labels).map((key) => `labels.${key}`);
      for (const digest of new Set(await blobs(image.target.digest, 0, signal)))
        await call(UPDATE_INFO, { info: { digest, labels }, updateMask: { paths } }, signal).catch((error: unknown) => {
          if (errorCode(error) !== 'CRI_NOT_FOUND') throw error;
        });
    },
  };
}

interface Manifest {
  manifests?: { digest: string }[];
  config?: { digest?: string };
  layers?: { digest?: string }[];
}
