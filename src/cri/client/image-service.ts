import { criSchema } from '../proto/cri.ts';
import type { CallOptions, CriImage, ImageService } from '../types.ts';
import { type Connection, type Method, methodsOf } from './connection.ts';
import { type RawFilesystemUsage, toFilesystemUsage } from './filesystem-usage.ts';

const method = methodsOf('runtime.v1.ImageService', criSchema);

const LIST = method('ListImages', 'ListImagesRequest', 'ListImagesResponse');
const STATUS = method('ImageStatus', 'ImageRequest', 'ImageStatusResponse');
const PULL = method('PullImage', 'PullImageRequest', 'PullImageResponse');
const REMOVE = method('RemoveImage', 'ImageRequest');
const FS_INFO = method('ImageFsInfo', 'Empty', 'ImageFsInfoResponse');

/** CRI's ImageService over a {@link Connection}. */
export function createImageService(connection: Connection): ImageService {
  const call = async <T>(m: Method, request: object, options: CallOptions | undefined): Promise<T> =>
    (await connection.unary(m, request, options)) as T;

  return {
    async listImages(filter, options) {
      const request = filter === undefined ? {} : { filter: { image: { image: filter } } };
      return (await call<{ images: CriImage[] }>(LIST, request, options)).images;
    },
    async imageStatus(image, options) {
      return (await call<{ image?: CriImage }>(STATUS, { image: { image } }, options)).image;
    },
    async pullImage(image, auth, sandboxConfig, options) {
      const request = { image, auth, sandboxConfig };
      const unlimited = { timeoutMs: Number.POSITIVE_INFINITY, ...options };
      return (await call<{ imageRef: string }>(PULL, request, unlimited)).imageRef;
    },
    async removeImage(image, options) {
      await call(REMOVE, { image: { image } }, options);
    },
    async imageFsInfo(options) {
      const raw = await call<Record<'imageFilesystems' | 'containerFilesystems', RawFilesystemUsage[]>>(
        FS_INFO,
        {},
        options,
      );
      return {
        imageFilesystems: raw.imageFilesystems.map(toFilesystemUsage),
        containerFilesystems: raw.containerFilesystems.map(toFilesystemUsage),
      };
    },
  };
}
