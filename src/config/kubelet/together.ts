import { AgentError } from '../../core/index.ts';
import type { KubeletSettings } from './table.ts';

/** What must hold between settings (kubelet apis/config/validation); `CONFIG_INVALID` naming all that doesn't. */
export function checkTogether(settings: KubeletSettings): void {
  const s = settings;
  const wrong: string[] = [];
  if (s.imageGCLowThresholdPercent >= s.imageGCHighThresholdPercent)
    wrong.push(
      `imageGCLowThresholdPercent (--image-gc-low-threshold) ${s.imageGCLowThresholdPercent} must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) ${s.imageGCHighThresholdPercent}`,
    );
  if (s.imageMaximumGCAge > 0 && s.imageMaximumGCAge <= s.imageMinimumGCAge)
    wrong.push('imageMaximumGCAge must be greater than imageMinimumGCAge');
  if (s.serializeImagePulls && (s.maxParallelImagePulls ?? 1) > 1)
    wrong.push('maxParallelImagePulls above 1 needs serializeImagePulls (--serialize-image-pulls) to be false');
  if (s.shutdownGracePeriodCriticalPods > s.shutdownGracePeriod)
    wrong.push('shutdownGracePeriodCriticalPods must not be longer than shutdownGracePeriod');
  for (const name of ['shutdownGracePeriod', 'shutdownGracePeriodCriticalPods'] as const)
    if (s[name] > 0 && s[name] < 1_000) wrong.push(`${name} must be 0s or at least 1s`);
  if (s.shutdownGracePeriodByPodPriority.length > 0 && s.shutdownGracePeriod > 0)
    wrong.push('shutdownGracePeriodByPodPriority and shutdownGracePeriod exclude each other');
  for (const signal of Object.keys(s.evictionSoft))
    if (!(signal in s.evictionSoftGracePeriod))
      wrong.push(`evictionSoft (--eviction-soft) needs a grace period for ${signal} (--eviction-soft-grace-period)`);
  const levels = [
    'none',
    'pods',
    'kube-reserved',
    'system-reserved',
    'kube-reserved-compressible',
    'system-reserved-compressible',
  ];
  for (const level of s.enforceNodeAllocatable)
    if (!levels.includes(level))
      wrong.push(
        `enforceNodeAllocatable (--enforce-node-allocatable) "${level.slice(0, 40)}" is none of ${levels.join(', ')}`,
      );
  if (
    s.preloadedImagesVerificationAllowlist.length > 0 &&
    s.imagePullCredentialsVerificationPolicy !== 'NeverVerifyAllowlistedImages'
  )
    wrong.push(
      'preloadedImagesVerificationAllowlist needs imagePullCredentialsVerificationPolicy NeverVerifyAllowlistedImages',
    );
  if (!s.podLogsDir.startsWith('/')) wrong.push('podLogsDir must be an absolute path');
  if (wrong.length > 0)
    throw new AgentError({
      code: 'CONFIG_INVALID',
      message: `the kubelet's settings do not fit together: ${wrong.join('; ')}`,
    });
}
