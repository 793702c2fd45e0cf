import type { SecurityProfile } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { configError } from './errors.ts';
import type { AnyContainer } from './spec.ts';

/** Before the fields of 1.30 a container's profile was named in an annotation of the pod with this prefix. */
const ANNOTATION = 'container.apparmor.security.beta.kubernetes.io/';

interface Profile {
  type: string;
  localhostProfile?: string | undefined;
}

/** Field of the container, annotation, field of the pod (pkg/security/apparmor/helpers.go); undefined: none is named. */
function profileOf(pod: Pod, container: AnyContainer): Profile | undefined {
  return (
    container.securityContext?.appArmorProfile ??
    fromAnnotation(pod.metadata.annotations?.[`${ANNOTATION}${container.name}`]) ??
    pod.spec.securityContext?.appArmorProfile
  );
}

function fromAnnotation(text: string | undefined): Profile | undefined {
  if (text === 'runtime/default') return { type: 'RuntimeDefault' };
  if (text === 'unconfined') return { type: 'Unconfined' };
  if (text?.startsWith('localhost/')) return { type: 'Localhost', localhostProfile: text.slice('localhost/'.length) };
  return undefined;
}

/** A container's profile as the runtime takes it; undefined leaves the runtime's own default. */
export function apparmor(pod: Pod, container: AnyContainer): SecurityProfile | undefined {
  const profile = profileOf(pod, container);
  if (profile === undefined) return undefined;
  switch (profile.type) {
    case 'RuntimeDefault':
    case 'Unconfined':
      return { profileType: profile.type };
    case 'Localhost':
      if (profile.localhostProfile === undefined) throw configError('missing localhost apparmor profile name');
      return { profileType: 'Localhost', localhostRef: profile.localhostProfile };
    default:
      throw configError(`unknown apparmor profile type: "${profile.type.slice(0, 64)}"`);
  }
}

/**
 * Upstream's text if the pod wants a profile that can't be given; undefined if all is well
 * (pkg/security/apparmor/validate.go). `enabled`: the kernel has AppArmor on.
 */
export function appArmorFault(pod: Pod, enabled: boolean): string | undefined {
  const { initContainers = [], containers, ephemeralContainers = [], securityContext } = pod.spec;
  const all: AnyContainer[] = [...initContainers, ...containers, ...ephemeralContainers];
  const wants = (profile: Profile | undefined) => profile !== undefined && profile.type !== 'Unconfined';
  const annotated = Object.entries(pod.metadata.annotations ?? {}).some(
    ([key, value]) => key.startsWith(ANNOTATION) && value !== 'unconfined',
  );
  if (
    !annotated &&
    !wants(securityContext?.appArmorProfile) &&
    !all.some((c) => wants(c.securityContext?.appArmorProfile))
  )
    return undefined;
  if (!enabled) return 'Cannot enforce AppArmor: AppArmor is not enabled on the host';
  for (const container of all) {
    const profile = profileOf(pod, container);
    if (profile?.type === 'Localhost' && !profile.localhostProfile?.trim())
      return `Cannot enforce AppArmor: invalid empty AppArmor profile name: "${profile.localhostProfile ?? ''}"`;
  }
  return undefined;
}
