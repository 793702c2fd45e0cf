import { AgentError, describeError, errorCode } from '../../core/index.ts';
import type { VolumeFailure } from '../materials.ts';

export type VolumeErrorCode =
  | 'VOLUME_UNSUPPORTED'
  | 'VOLUME_REFERENCE'
  | 'VOLUME_TYPE'
  | 'VOLUME_SETUP'
  /** What a claim leads to can't be found or may not be used. */
  | 'VOLUME_PROCESS'
  /** A file system can't be mounted: the message says which step failed. */
  | 'VOLUME_MOUNT'
  /** The same of a block device. */
  | 'VOLUME_MAP'
  | 'VOLUME_TEARDOWN'
  /** The folder of a subPath can't be made. */
  | 'SUBPATH_CREATE';

export function volumeError(code: VolumeErrorCode, message: string, cause?: unknown): AgentError {
  return new AgentError({ code, message, cause });
}

/** A step of mounting failed, in upstream's words. `step`: such as `MountVolume.MountDevice failed`. */
export function mountFailure(step: string, volume: string, why: unknown): AgentError {
  return stepFailure('VOLUME_MOUNT', { step, volume, why });
}

/** A step of handing a block device over failed. */
export function deviceFailure(step: string, volume: string, why: unknown): AgentError {
  return stepFailure('VOLUME_MAP', { step, volume, why });
}

function stepFailure(
  code: VolumeErrorCode,
  { step, volume, why }: { step: string; volume: string; why: unknown },
): AgentError {
  if (why instanceof AgentError && (why.code === 'VOLUME_MOUNT' || why.code === 'VOLUME_MAP')) return why;
  const text = typeof why === 'string' ? why : why instanceof AgentError ? why.message : describeError(why);
  return volumeError(code, `${step} for volume "${volume}" : ${text}`, typeof why === 'string' ? undefined : why);
}

/** Upstream's words for a volume that can't be set up. */
export function volumeFailure(volume: string, error: unknown): VolumeFailure {
  const code = errorCode(error) ?? '';
  const text = error instanceof AgentError ? error.message : describeError(error);
  if (code === 'VOLUME_MOUNT') return { volume, code, message: text.slice(0, 1024) };
  if (code === 'VOLUME_MAP') return { volume, code, reason: 'FailedMapVolume', message: text.slice(0, 1024) };
  if (code === 'VOLUME_PROCESS') {
    const lists = `unmounted volumes=[${volume}], unattached volumes=[], failed to process volumes=[${volume}]`;
    return { volume, code, message: `Unable to attach or mount volumes: ${lists}: ${text}`.slice(0, 1024) };
  }
  return {
    volume,
    code: code.startsWith('VOLUME_') ? code : code.startsWith('REFERENCE_') ? 'VOLUME_REFERENCE' : 'VOLUME_SETUP',
    message: `MountVolume.SetUp failed for volume "${volume}" : ${text}`.slice(0, 1024),
  };
}
