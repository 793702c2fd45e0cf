import { describeError, errorCode } from '../../core/index.ts';

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
  return { reason: 'ErrImagePull', message: `${grpcHead(error)}${text}` };
}

/** gRPC's own words before the runtime's, which the kubelet leaves out only where the code says nothing. */
function grpcHead(error: unknown): string {
  const status = /^CRI_([A-Z_]+)$/.exec(errorCode(error) ?? '')?.[1];
  if (status === undefined || status === 'UNKNOWN') return '';
  const name =
    status === 'CANCELLED' ? 'Canceled' : status.toLowerCase().replace(/(?:^|_)([a-z])/g, (_, c) => c.toUpperCase());
  return `rpc error: code = ${name} desc = `;
}
