import { AgentError, describeError, errorCode } from '../../core/index.ts';
import type { VolumeFailure } from '../materials.ts';

export type VolumeErrorCode =
  | 'VOLUME_UNSUPPORTED'
  | 'VOLUME_REFERENCE'
  | 'VOLUME_TYPE'
  | 'VOLUME_SETUP'
  | 'VOLUME_TEARDOWN'
  | 'VOLUME_TMPFS'
  /** The folder of a subPath can't be made. */
  | 'SUBPATH_CREATE';

export function volumeError(code: VolumeErrorCode, message: string, cause?: unknown): AgentError {
  return new AgentError({ code, message, cause });
}

/** Upstream's words for a volume that can't be set up. */
export function volumeFailure(volume: string, error: unknown): VolumeFailure {
  const code = errorCode(error) ?? '';
  const text = error instanceof AgentError ? error.message : describeError(error);
  return {
    volume,
    code: code.startsWith('VOLUME_') ? code : code.startsWith('REFERENCE_') ? 'VOLUME_REFERENCE' : 'VOLUME_SETUP',
    message: `MountVolume.SetUp failed for volume "${volume}" : ${text}`.slice(0, 1024),
  };
}
