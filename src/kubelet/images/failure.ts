import { describeError, errorCode } from '../../core/index.ts';
import { rpcText } from '../pods/rpc-text.ts';

export interface PullFailure {
  /** The container's waiting reason. */
  reason: 'ErrImagePull' | 'RegistryUnavailable' | 'SignatureValidationFailed';
  message: string;
}

/** Reasons that a runtime begins its text with, and what the kubelet makes of them (pkg/kubelet/images, evalCRIPullErr). */
const KNOWN = {
  RegistryUnavailable: 'the registry is unavailable',
  SignatureValidationFailed: 'the signature validation failed',
} as const;

/** What a failed pull of `image` is called in the container's status. */
export function pullFailure(image: string, error: unknown): PullFailure {
  const text = describeError(error);
  for (const [reason, words] of Object.entries(KNOWN) as [keyof typeof KNOWN, string][])
    if (text.startsWith(reason))
      return { reason, message: `image pull failed for ${image} because ${words}${text.slice(reason.length)}` };
  // gRPC's own words stand before the runtime's, save where the code says nothing.
  return { reason: 'ErrImagePull', message: errorCode(error) === 'CRI_UNKNOWN' ? text : rpcText(error) };
}
