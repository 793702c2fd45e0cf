import type { ContainerConfig, IdMapping, Mount } from '../../cri/types.ts';
import type { Pod } from '../../kube/index.ts';
import { configError } from './errors.ts';
import { expand } from './expansion.ts';
import { containerAnnotations, containerLabels } from './labels.ts';
import { containerResources, type ResourceHost } from './linux-resources.ts';
import { containerLogPath } from './paths.ts';
import { containerSecurity, type ImageUser, type SecurityOptions, verifyNonRoot } from './security.ts';
import type { AnyContainer } from './spec.ts';

export interface ContainerContext {
  pod: Pod;
  container: AnyContainer;
  restartCount: number;
  image: ImageUser & { ref: string };
  environment: ReadonlyMap<string, string>;
  mounts: readonly Mount[];
  targetContainerId?: string | undefined;
  /** Of a pod with its own user namespace: files of its volumes belong to the same users inside as they do outside. */
  users?: IdMapping | undefined;
  host: ResourceHost;
  security: SecurityOptions;
}

/** Longest command or argument after expansion; the kernel takes 128 KiB. */
const MAX_ARGUMENT = 1024 * 1024;

/**
 * A container's configuration (kubelet generateContainerConfig). Pure. Throws `CONTAINER_CONFIG` with upstream's text.
 */
export function makeContainerConfig(context: ContainerContext): ContainerConfig {
  const { pod, container, restartCount, environment, users } = context;
  verifyNonRoot(pod, container, context.image);
  const lookup = (name: string) => environment.get(name);
  const expanded = (list: readonly string[] | undefined) =>
    list?.map((text) => {
      const out = expand(text, lookup, MAX_ARGUMENT);
      if (out.length > MAX_ARGUMENT) throw configError('a command or argument is too long to start a process with');
      return out;
    });
  const command = expanded(container.command);
  const args = expanded(container.args);
  const stopSignal = container.lifecycle?.stopSignal;
  return {
    metadata: { name: container.name, attempt: restartCount },
    image: { image: context.image.ref, ...(container.image && { userSpecifiedImage: container.image }) },
    ...(command && { command }),
    ...(args && { args }),
    workingDir: container.workingDir ?? '',
    envs: [...environment].map(([key, value]) => ({ key, value })),
    mounts: users
      ? context.mounts.map((mount) => ({ ...mount, uidMappings: [users], gidMappings: [users] }))
      : [...context.mounts],
    labels: containerLabels(pod, container),
    annotations: containerAnnotations(pod, container, restartCount),
    logPath: containerLogPath(container.name, restartCount),
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    linux: {
      resources: containerResources(pod, container, context.host),
      securityContext: containerSecurity(context, context.security),
    },
    ...(stopSignal && { stopSignal }),
  };
}
