import type { ImageReference } from '../../core/index.ts';

/** What the API server fills in when a container names no policy: Always for `:latest`, else IfNotPresent. */
export function defaultPullPolicy(reference: ImageReference): 'Always' | 'IfNotPresent' {
  if (reference.digest !== undefined && reference.tag === undefined) return 'IfNotPresent';
  return (reference.tag ?? 'latest') === 'latest' ? 'Always' : 'IfNotPresent';
}
