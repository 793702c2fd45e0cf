import type { Clock } from '../../../core/index.ts';
import type { Exec } from '../../../host/index.ts';
import { KubeError, type Pod, type Volume } from '../../../kube/index.ts';
import type { Csi } from '../../csi/index.ts';
import type { MountedVolume } from '../../materials.ts';
import { deviceFailure, mountFailure, volumeError } from '../errors.ts';
import { ensureHostPath } from '../host-path.ts';
import type { Layout } from '../layout.ts';
import type { Mounter } from '../mounter.ts';
import type { StorageApi } from '../storage.ts';
import { suitsNode } from './affinity.ts';
import { resolveClaim } from './claim.ts';
import { setUpLocal } from './local.ts';
import { setUpNfs } from './nfs.ts';
import { rememberClaim, rememberedClaim } from './remember.ts';
import type { StorageSpec } from './spec.ts';

export interface SetUpContext {
  pod: Pod;
  podUid: string;
  client: StorageApi;
  layout: Layout;
  mounter: Mounter;
  exec: Exec;
  clock: Clock;
  node(): { name: string; labels: Readonly<Record<string, string>> };
  csi(): Promise<Csi>;
  signal: AbortSignal;
}

export interface SetUp {
  mounted: MountedVolume;
  /** Monotonic: when to set it up again (a driver wants to be asked now and then); undefined: never. */
  dueAt?: number | undefined;
}

/** Sets up what a claim, or an inline csi or nfs volume, leads to. Throws AgentError with upstream's text. */
export async function setUpStorage(volume: Volume, context: SetUpContext): Promise<SetUp> {
  const spec = await specOf(volume, context);
  if (!suitsNode(spec.persistent, context.node())) {
    const failed = spec.block ? deviceFailure : mountFailure;
    throw failed(
      `${spec.block ? 'Map' : 'Mount'}Volume.NodeAffinity check failed`,
      spec.name,
      'no matching NodeSelectorTerms',
    );
  }
  const source = spec.persistent?.spec;
  if (source?.csi || spec.inline?.csi) return (await context.csi()).setUp(spec, context);
  return { mounted: withGroup(await plain(spec, context), spec) };
}

async function plain(spec: StorageSpec, context: SetUpContext): Promise<MountedVolume> {
  const source = spec.persistent?.spec;
  if (source?.local) return setUpLocal(spec, context);
  if (source?.nfs || spec.inline?.nfs) return setUpNfs(spec, context);
  if (source?.hostPath && !spec.block) {
    const { path, type } = source.hostPath;
    try {
      await ensureHostPath(path, type);
    } catch (error) {
      throw mountFailure('MountVolume.SetUp failed', spec.name, error);
    }
    return { hostPath: path, readOnly: spec.readOnly, selinuxRelabel: false, trusted: false };
  }
  throw volumeError(
    'VOLUME_UNSUPPORTED',
    `the PersistentVolume "${spec.name}" is of a kind this agent does not support`,
  );
}

async function specOf(volume: Volume, context: SetUpContext): Promise<StorageSpec> {
  const { pod, podUid, layout } = context;
  if (!volume.persistentVolumeClaim && !volume.ephemeral)
    return {
      volume: volume.name,
      name: volume.name,
      readOnly: volume.csi?.readOnly === true || volume.nfs?.readOnly === true,
      block: false,
      inline: volume,
    };
  try {
    const spec = await resolveClaim(pod, volume, context);
    await rememberClaim(layout, podUid, spec);
    return spec;
  } catch (error) {
    const known = noAnswer(error) ? await rememberedClaim(layout, podUid, volume.name) : undefined;
    if (known === undefined) throw error;
    return known;
  }
}

function noAnswer(error: unknown): boolean {
  return error instanceof KubeError && error.status === 0;
}

/** The group that files of the volume belong to, whoever made it (annotation pv.beta.kubernetes.io/gid). */
function withGroup(mounted: MountedVolume, { persistent }: StorageSpec): MountedVolume {
  const gid = Number(persistent?.metadata?.annotations?.['pv.beta.kubernetes.io/gid'] ?? '');
  return Number.isInteger(gid) && gid > 0 ? { ...mounted, group: gid } : mounted;
}
