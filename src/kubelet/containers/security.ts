import { join } from 'node:path';
import type {
  IdMapping,
  LinuxContainerSecurityContext,
  NamespaceOption,
  SELinuxOption,
  SecurityProfile,
} from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { apparmor } from './apparmor.ts';
import { configError } from './errors.ts';
import { type AnyContainer, podLongName, type SecurityContext, specOf } from './spec.ts';

/** What the image says about its user: exactly one is set; neither means root. */
export interface ImageUser {
  uid?: number | undefined;
  username?: string | undefined;
}

export interface SecurityOptions {
  /** Folder of Localhost seccomp profiles: `/var/lib/kubelet/seccomp`. */
  seccompRoot: string;
  seccompDefault: boolean;
  /** Hidden from containers beside what is hidden everywhere. */
  maskedPaths?: readonly string[];
}

const MAX_USER_ID = 2 ** 31 - 1;

/** The container's security context over the pod's, field by field (pkg/securitycontext/util.go). */
function effectiveContext(pod: Pod, container: AnyContainer): SecurityContext {
  const { seLinuxOptions, runAsUser, runAsGroup, runAsNonRoot } = pod.spec.securityContext ?? {};
  const own = Object.entries(container.securityContext ?? {}).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  return {
    ...(seLinuxOptions && { seLinuxOptions }),
    ...(runAsUser !== undefined && { runAsUser }),
    ...(runAsGroup !== undefined && { runAsGroup }),
    ...(runAsNonRoot !== undefined && { runAsNonRoot }),
    ...Object.fromEntries(own),
  };
}

/** Throws `CONTAINER_CONFIG` if the container must not be root and is, or might be. */
export function verifyNonRoot(pod: Pod, container: AnyContainer, image: ImageUser): void {
  const { runAsNonRoot, runAsUser } = effectiveContext(pod, container);
  if (!runAsNonRoot) return;
  const where = `(pod: "${podLongName(pod)}", container: ${container.name})`;
  if (runAsUser !== undefined) {
    if (runAsUser === 0) throw configError(`container's runAsUser breaks non-root policy ${where}`);
    return;
  }
  const { uid, username } = imageUser(image);
  if (uid === 0) throw configError(`container has runAsNonRoot and image will run as root ${where}`);
  if (uid !== undefined && (uid < 0 || uid > MAX_USER_ID))
    throw configError(
      `container has runAsNonRoot and image has an invalid user id (${uid}). (Must be 1-(${MAX_USER_ID})): must be between 0 and ${MAX_USER_ID}, inclusive ${where}`,
    );
  if (uid === undefined && username)
    throw configError(
      `container has runAsNonRoot and image has non-numeric user (${username}), cannot verify user is non-root ${where}`,
    );
}

function imageUser(image: ImageUser): ImageUser {
  if (image.uid !== undefined) return { uid: image.uid };
  return image.username ? { username: image.username } : { uid: 0 };
}

/** `users`: the range of the host's ids that the pod's users are, if it has a user namespace of its own. */
export function namespaces(
  pod: Pod,
  more: { users?: IdMapping | undefined; targetContainerId?: string | undefined } = {},
): NamespaceOption {
  const { hostNetwork, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  const { users, targetContainerId } = more;
  const pid = hostPID ? 'NODE' : shareProcessNamespace ? 'POD' : 'CONTAINER';
  return {
    network: hostNetwork ? 'NODE' : 'POD',
    ipc: hostIPC ? 'NODE' : 'POD',
    pid: targetContainerId && pid === 'CONTAINER' ? 'TARGET' : pid,
    ...(targetContainerId && pid === 'CONTAINER' && { targetId: targetContainerId }),
    ...(users && { usernsOptions: { mode: 'POD', uids: [users], gids: [users] } }),
  };
}

export function selinux(options: SecurityContext['seLinuxOptions']): SELinuxOption | undefined {
  if (!options) return undefined;
  const { user, role, type, level } = options;
  return { ...(user && { user }), ...(role && { role }), ...(type && { type }), ...(level && { level }) };
}

export function supplementalGroups(pod: Pod): number[] {
  const { fsGroup, supplementalGroups: more = [] } = pod.spec.securityContext ?? {};
  return [...(fsGroup === undefined ? [] : [fsGroup]), ...more];
}

function seccomp(pod: Pod, container: AnyContainer, options: SecurityOptions): SecurityProfile {
  const profile = container.securityContext?.seccompProfile ?? pod.spec.securityContext?.seccompProfile;
  switch (profile?.type) {
    case undefined:
      return { profileType: options.seccompDefault ? 'RuntimeDefault' : 'Unconfined' };
    case 'RuntimeDefault':
      return { profileType: 'RuntimeDefault' };
    case 'Localhost': {
      const file = profile.localhostProfile;
      if (!file) throw configError('localhostProfile must be set if seccompProfile type is Localhost.');
      const path = join(options.seccompRoot, file);
      if (!path.startsWith(`${options.seccompRoot}/`))
        throw configError(`seccomp profile ${file.slice(0, 256)} is outside of ${options.seccompRoot}`);
      return { profileType: 'Localhost', localhostRef: path };
    }
    default:
      return { profileType: 'Unconfined' };
  }
}

const MASKED = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** A container's security context as the runtime takes it (kubelet pkg/kubelet/kuberuntime/security_context.go). */
export function containerSecurity(
  request: {
    pod: Pod;
    container: AnyContainer;
    image: ImageUser;
    targetContainerId?: string | undefined;
    users?: IdMapping | undefined;
  },
  options: SecurityOptions,
): LinuxContainerSecurityContext {
  const { pod, container } = request;
  const sc = effectiveContext(pod, container);
  const image = imageUser(request.image);
  const user =
    sc.runAsUser !== undefined
      ? { runAsUser: { value: sc.runAsUser } }
      : image.uid !== undefined
        ? { runAsUser: { value: image.uid } }
        : { runAsUsername: image.username as string };
  const labels = selinux(sc.seLinuxOptions);
  const profile = apparmor(pod, container);
  const policy = specOf(pod).securityContext?.supplementalGroupsPolicy;
  const unmasked = sc.procMount === 'Unmasked';
  return {
    ...user,
    ...(sc.runAsGroup !== undefined && { runAsGroup: { value: sc.runAsGroup } }),
    ...(sc.capabilities && {
      capabilities: { addCapabilities: sc.capabilities.add ?? [], dropCapabilities: sc.capabilities.drop ?? [] },
    }),
    privileged: sc.privileged === true,
    readonlyRootfs: sc.readOnlyRootFilesystem === true,
    noNewPrivs: sc.allowPrivilegeEscalation === false,
    namespaceOptions: namespaces(pod, request),
    supplementalGroups: supplementalGroups(pod),
    ...(policy && { supplementalGroupsPolicy: policy }),
    seccomp: seccomp(pod, container, options),
    ...(profile && { apparmor: profile }),
    ...(labels && { selinuxOptions: labels }),
    maskedPaths: unmasked ? [] : [...MASKED, ...(options.maskedPaths ?? [])],
    readonlyPaths: unmasked ? [] : READ_ONLY,
  };
}
