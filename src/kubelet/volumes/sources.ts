import { AgentError, errorCode, isAbort, type Logger } from '../../core/index.ts';
import { readText } from '../../host/index.ts';
import type { Pod, Volume } from '../../kube/index.ts';
import type { MountedVolume } from '../materials.ts';
import type { Reference, References, Tokens, TokenWish } from '../references/index.ts';
import type { TrustBundles, TrustBundleWish } from '../references/trust-bundles.ts';
import { isWritten, writeVolume } from './atomic-writer.ts';
import { downwardPayload } from './downward.ts';
import { ensureEmptyDir } from './empty-dir.ts';
import { volumeError } from './errors.ts';
import { ensureHostPath } from './host-path.ts';
import type { Layout } from './layout.ts';
import { placeVolume } from './memory-link.ts';
import type { MountRequest } from './mounter.ts';
import { DEFAULT_MODE, objectPayload, type Payload, safePath } from './payload.ts';
import type { Storage } from './storage.ts';
import { nestedMountPoints } from './used.ts';
import { commonUser } from './wishes.ts';

export interface SourceContext {
  pod: Pod;
  layout: Layout;
  references: References;
  tokens: Tokens;
  allocatable(): Readonly<Record<string, string>>;
  allocatableMemory(): number;
  log: Logger;
  signal: AbortSignal;
  /** Mounts that the volumes of the pod still need: made together. */
  mounts: MountRequest[];
  /** Claims, nfs and CSI drivers; undefined where there are none. */
  storage: Storage | undefined;
  /** Made when the first pod asks. */
  trustBundles(): Promise<TrustBundles>;
  /** Monotonic times at which tokens are to be renewed. */
  renewals: number[];
}

/** Mode of the folder of a volume, as upstream has it: secrets and tokens lie in a tmpfs of their own there. */
const SECRET_MODE = 0o1777;
const PLAIN_MODE = 0o777;

/** Sets one volume up; one kind a case. Throws AgentError with upstream's text (without its MountVolume prefix). */
export async function setUpVolume(volume: Volume, context: SourceContext): Promise<MountedVolume> {
  const { pod, layout, mounts } = context;
  const uid = pod.metadata.uid as string;
  if (volume.emptyDir) {
    const directory = layout.volumeDir(uid, 'kubernetes.io~empty-dir', volume.name);
    const mount = await ensureEmptyDir(volume.emptyDir, {
      pod,
      directory,
      allocatableMemory: context.allocatableMemory(),
    });
    if (mount) mounts.push(mount);
    return { hostPath: directory, readOnly: false, selinuxRelabel: true, trusted: false };
  }
  if (volume.hostPath) {
    await ensureHostPath(volume.hostPath.path, volume.hostPath.type);
    return { hostPath: volume.hostPath.path, readOnly: false, selinuxRelabel: false, trusted: false };
  }
  if (volume.configMap) {
    const { name = '', items, defaultMode, optional = false } = volume.configMap;
    return written(volume.name, 'kubernetes.io~configmap', PLAIN_MODE, context, () =>
      fromObject({ kind: 'ConfigMap', name, items, defaultMode, optional }, context),
    );
  }
  if (volume.secret) {
    const { secretName = '', items, defaultMode, optional = false } = volume.secret;
    return written(volume.name, 'kubernetes.io~secret', SECRET_MODE, context, () =>
      fromObject({ kind: 'Secret', name: secretName, items, defaultMode, optional }, context),
    );
  }
  if (volume.downwardAPI) {
    const { items, defaultMode } = volume.downwardAPI;
    return written(volume.name, 'kubernetes.io~downward-api', SECRET_MODE, context, async () =>
      downwardPayload(pod, items, { defaultMode, allocatable: context.allocatable() }),
    );
  }
  if (volume.projected) {
    const { projected } = volume;
    return written(volume.name, 'kubernetes.io~projected', SECRET_MODE, context, (directory) =>
      projectedPayload(projected, directory, context),
    );
  }
  const { image } = volume as { image?: { reference?: string } };
  if (image)
    return { hostPath: '', readOnly: true, selinuxRelabel: false, trusted: true, image: image.reference ?? '' };
  if ((volume.persistentVolumeClaim || volume.ephemeral || volume.csi || volume.nfs) && context.storage)
    return context.storage.setUp(pod, volume, context.renewals, context.signal);
  const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'without a source';
  throw volumeError(
    'VOLUME_UNSUPPORTED',
    `volumes of the kind ${kind.slice(0, 64)} are not supported by this agent yet`,
  );
}

/** A volume of files from the API: in the shared tmpfs, with a link where people look for it. */
async function written(
  name: string,
  plugin: string,
  directoryMode: number,
  context: SourceContext,
  payload: (directory: string) => Promise<Payload>,
): Promise<MountedVolume> {
  const { pod, layout } = context;
  const uid = pod.metadata.uid as string;
  const directory = await placeVolume(
    layout.volumeDir(uid, plugin, name),
    layout.memoryVolumeDir(uid, plugin, name),
    directoryMode === SECRET_MODE,
  );
  const result = { hostPath: directory, readOnly: true, selinuxRelabel: true, trusted: true };
  let files: Payload;
  try {
    files = await payload(directory);
  } catch (error) {
    // The server can't be asked, but what it said before lies here: a pod that could go on must.
    const unsure = ['REFERENCE_UNKNOWN', 'TOKEN_REFUSED'].includes(errorCode(error) ?? '');
    if (!unsure || isAbort(error) || !isWritten(directory)) throw error;
    context.log.debug('a volume keeps its last content', { pod: pod.metadata.name, volume: name });
    context.renewals.push(0);
    return result;
  }
  const { fsGroup } = pod.spec.securityContext ?? {};
  writeVolume(directory, files, { directoryMode, fsGroup, nested: nestedMountPoints(name, pod) });
  return result;
}

interface ObjectSource {
  kind: Reference['kind'];
  name: string;
  items?: Parameters<typeof objectPayload>[2]['items'];
  defaultMode?: number | undefined;
  optional: boolean;
}

async function fromObject(source: ObjectSource, { pod, references, signal }: SourceContext): Promise<Payload> {
  const { kind, name, optional } = source;
  try {
    const object = await references.get({ kind, namespace: pod.metadata.namespace ?? '', name }, signal);
    return objectPayload(kind, object, source);
  } catch (error) {
    if (optional && errorCode(error) === 'REFERENCE_ABSENT') return new Map();
    throw error;
  }
}

async function projectedPayload(
  projected: NonNullable<Volume['projected']>,
  directory: string,
  context: SourceContext,
): Promise<Payload> {
  const defaultMode = projected.defaultMode ?? DEFAULT_MODE;
  const out: Payload = new Map();
  const faults: unknown[] = [];
  for (const source of projected.sources ?? []) {
    try {
      for (const [path, file] of await projectedSource(source, { defaultMode, directory, context }))
        out.set(path, file);
    } catch (error) {
      if (isAbort(error)) throw error;
      faults.push(error);
    }
  }
  if (faults.length === 1) throw faults[0];
  if (faults.length > 1) {
    const unsure = faults.every((f) => ['REFERENCE_UNKNOWN', 'TOKEN_REFUSED'].includes(errorCode(f) ?? ''));
    throw new AgentError({
      code: unsure ? 'REFERENCE_UNKNOWN' : 'VOLUME_REFERENCE',
      message: `[${faults.map((f) => (f instanceof Error ? f.message : '')).join(', ')}]`,
      cause: faults[0],
    });
  }
  return out;
}

type ProjectedSource = NonNullable<NonNullable<Volume['projected']>['sources']>[number];

async function projectedSource(
  source: ProjectedSource,
  { defaultMode, directory, context }: { defaultMode: number; directory: string; context: SourceContext },
): Promise<Payload> {
  const { pod } = context;
  if (source.configMap) {
    const { name = '', items, optional = false } = source.configMap;
    return fromObject({ kind: 'ConfigMap', name, items, defaultMode, optional }, context);
  }
  if (source.secret) {
    const { name = '', items, optional = false } = source.secret;
    return fromObject({ kind: 'Secret', name, items, defaultMode, optional }, context);
  }
  if (source.downwardAPI)
    return downwardPayload(pod, source.downwardAPI.items, { defaultMode, allocatable: context.allocatable() });
  if (source.serviceAccountToken) {
    const { audience = '', expirationSeconds = 3600, path } = source.serviceAccountToken;
    const file = safePath(path);
    const wish: TokenWish = {
      podName: pod.metadata.name as string,
      podUid: pod.metadata.uid as string,
      namespace: pod.metadata.namespace as string,
      serviceAccount: pod.spec.serviceAccountName || 'default',
      audience,
      expirationSeconds,
    };
    const before = await readText(`${directory}/..data/${file}`);
    if (before !== undefined) context.tokens.adopt(wish, before);
    const { token, refreshAt } = await context.tokens.get(wish, context.signal);
    context.renewals.push(refreshAt);
    return forUser(pod, { file, data: token, defaultMode });
  }
  const { clusterTrustBundle } = source as { clusterTrustBundle?: TrustBundleWish & { path: string } };
  if (clusterTrustBundle) {
    const file = safePath(clusterTrustBundle.path);
    const { name, signerName } = clusterTrustBundle;
    if (name === undefined && signerName === undefined)
      throw volumeError('VOLUME_SETUP', 'ClusterTrustBundle projection requires either name or signerName to be set');
    const data = await (await context.trustBundles()).get(clusterTrustBundle, context.signal);
    return forUser(pod, { file, data, defaultMode });
  }
  const kind = Object.keys(source)[0];
  // What the server does not know it has left out.
  if (kind === undefined) return new Map();
  throw volumeError(
    'VOLUME_UNSUPPORTED',
    `projected sources of the kind ${kind.slice(0, 64)} are not supported by this agent yet`,
  );
}

/** A file for the one user of the pod, if it has one; its group gets to read it with the whole volume. */
function forUser(pod: Pod, file: { file: string; data: string; defaultMode: number }): Payload {
  const user = commonUser(pod);
  const narrow = user !== undefined || pod.spec.securityContext?.fsGroup !== undefined;
  const mode = narrow ? 0o600 : file.defaultMode;
  return new Map([[file.file, { data: Buffer.from(file.data), mode, ...(user !== undefined && { uid: user }) }]]);
}
