import type { ContainerConfig, Mount } from '../../cri/types.ts';
import type { MountedVolume, PodVolumes } from '../materials.ts';
import { configError } from './errors.ts';
import { expand } from './expansion.ts';
import type { AnyContainer, NewVolumeMount } from './spec.ts';

/** A volume mount with its volume found and its subPath expanded. */
export interface PlannedMount {
  index: number;
  name: string;
  containerPath: string;
  volume: MountedVolume;
  /** Relative, without `..`; empty: the whole volume. */
  subPath: string;
  readonly: boolean;
  recursiveReadOnly: boolean;
  propagation: NonNullable<Mount['propagation']>;
}

/**
 * Finds the volumes of a container's mounts and checks what can be checked without looking at the disk (kubelet
 * makeMounts). Throws `CONTAINER_CONFIG` with upstream's text.
 */
export function planMounts(
  container: AnyContainer,
  volumes: PodVolumes,
  context: { environment: ReadonlyMap<string, string>; recursiveReadOnly: boolean },
): PlannedMount[] {
  return (container.volumeMounts ?? []).map((mount: NewVolumeMount, index) => {
    const volume = volumes.get(mount.name);
    if (!volume || volume.device)
      throw configError(`cannot find volume "${mount.name}" to mount into container "${container.name}"`);
    const readonly = mount.readOnly === true || volume.readOnly;
    return {
      index,
      name: mount.name,
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      volume,
      subPath: subPathOf(mount, context.environment),
      readonly,
      recursiveReadOnly: recursive(mount, context.recursiveReadOnly),
      propagation: propagationOf(mount),
    };
  });
}

/** The block devices a container gets. Throws `CONTAINER_CONFIG` with upstream's text (kubelet makeBlockVolumes). */
export function planDevices(container: AnyContainer, volumes: PodVolumes): NonNullable<ContainerConfig['devices']> {
  return (container.volumeDevices ?? []).map(({ name, devicePath }) => {
    const volume = volumes.get(name);
    if (!volume?.device) throw configError(`cannot find volume "${name}" to pass into container "${container.name}"`);
    return { containerPath: devicePath, hostPath: volume.hostPath, permissions: volume.readOnly ? 'r' : 'mrw' };
  });
}

/** Whole-volume mounts and subPath ones (`resolved`: by index) as the runtime takes them. */
export function criMount(planned: PlannedMount, hostPath: string): Mount {
  return {
    containerPath: planned.containerPath,
    hostPath,
    readonly: planned.readonly,
    propagation: planned.propagation,
    selinuxRelabel: planned.volume.selinuxRelabel,
    ...(planned.recursiveReadOnly && { recursiveReadOnly: true }),
  };
}

/** An image volume's mount: the runtime finds what to mount by itself. `ref`: what it knows the image by. */
export function imageMount(planned: PlannedMount, ref: string | undefined): Mount {
  const name = planned.volume.image ?? '';
  return {
    ...criMount(planned, ''),
    readonly: true,
    image: { image: ref ?? name, userSpecifiedImage: name },
    ...(planned.subPath !== '' && { imageSubPath: planned.subPath }),
  };
}

function subPathOf(mount: NewVolumeMount, environment: ReadonlyMap<string, string>): string {
  let path = mount.subPath ?? '';
  if (mount.subPathExpr) {
    const missing: string[] = [];
    path = expand(
      mount.subPathExpr,
      (name) => {
        const value = environment.get(name);
        if (value === undefined || value === '') missing.push(name);
        return value;
      },
      8192,
    );
    if (missing.length > 0) throw configError(`missing value for "${missing.join(', ').slice(0, 900)}"`);
  }
  if (path === '') return '';
  if (path.startsWith('/')) throw configError(`error SubPath \`${path.slice(0, 256)}\` must not be an absolute path`);
  if (path.split('/').includes('..'))
    throw configError(`unable to provision SubPath \`${path.slice(0, 256)}\`: must not contain '..'`);
  if (path.includes('\0') || path.length > 4096)
    throw configError('unable to provision SubPath: it is longer than 4096 characters or holds a zero byte');
  return path;
}

function recursive(mount: NewVolumeMount, supported: boolean): boolean {
  const mode = mount.recursiveReadOnly ?? 'Disabled';
  if (mode === 'Disabled') return false;
  const refuse = (why: string) => configError(`failed to resolve recursive read-only mode: ${why}`);
  const wanted = `volume "${mount.name}" requested recursive read-only mode, but it is`;
  if (mount.readOnly !== true) throw refuse(`${wanted} not read-only`);
  if (propagationOf(mount) !== 'PROPAGATION_PRIVATE')
    throw refuse(`${wanted} not compatible with propagation "${mount.mountPropagation}"`);
  if (mode === 'IfPossible') return supported;
  if (mode !== 'Enabled') throw refuse(`unknown recursive read-only mode "${mode.slice(0, 64)}"`);
  if (!supported) throw refuse(`${wanted} not supported by the runtime`);
  return true;
}

function propagationOf(mount: NewVolumeMount): NonNullable<Mount['propagation']> {
  switch (mount.mountPropagation ?? 'None') {
    case 'None':
      return 'PROPAGATION_PRIVATE';
    case 'HostToContainer':
      return 'PROPAGATION_HOST_TO_CONTAINER';
    case 'Bidirectional':
      return 'PROPAGATION_BIDIRECTIONAL';
    default:
      throw configError(`invalid MountPropagation mode: "${mount.mountPropagation}"`);
  }
}
