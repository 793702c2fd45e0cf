import { AgentError, describeError, errorCode, isAbort } from '../core/index.ts';
import type { ContainerConfig, IdMapping } from '../cri/types.ts';
import type { Pod } from '../kube/index.ts';
import type { CgroupManager } from './cgroups/index.ts';
import { etcHostsMount, makeLogFolder, readResolvConf, terminationLogMount } from './containers/files.ts';
import {
  type AnyContainer,
  configError,
  envReferences,
  isStaticPod,
  makeContainerConfig,
  makeEnvironment,
  makeSandboxConfig,
  parseResolvConf,
  planDevices,
  planMounts,
  podDns,
  podHostname,
  type ResourceHost,
  type SecurityOptions,
  serviceVariables,
} from './containers/index.ts';
import type { UserNamespaces } from './containers/user-namespaces.ts';
import type {
  ContainerMaterials,
  ContainerRequest,
  MaterialsOptions,
  PodVolumes,
  SandboxMaterials,
} from './materials.ts';
import { type Referenced, type References, referenceKey } from './references/index.ts';
import { makeMounts } from './subpaths.ts';
import type { Layout, Mounter } from './volumes/index.ts';

/** What making sandboxes and containers needs beside the pod. */
export interface MakingContext {
  options: MaterialsOptions;
  logDir: string;
  layout: Layout;
  references: References;
  mounter: Mounter;
  cgroups: CgroupManager;
  host: ResourceHost;
  security: SecurityOptions;
  users: UserNamespaces;
}

export async function makeSandboxMaterials(
  pod: Pod,
  attempt: number,
  context: MakingContext,
  signal: AbortSignal,
): Promise<SandboxMaterials> {
  const { options, logDir, cgroups, host } = context;
  const { dns } = options;
  try {
    const className = pod.spec.runtimeClassName;
    const runtimeHandler = className ? await options.runtimeHandler(className, signal) : '';
    if (pod.spec.hostUsers === false) assertUserNamespaces(runtimeHandler, options.runtimeSupports?.userNamespaces);
    const own = dns.resolvConf ? parseResolvConf(await readResolvConf(dns.resolvConf)) : parseResolvConf('');
    const { config, notices } = podDns(pod, { dns, host: own, hostIps: options.node().hostIps });
    const sandbox = makeSandboxConfig(pod, {
      attempt,
      cgroupParent: cgroups.parent(pod),
      logDir,
      dns: config,
      hostname: podHostname(pod, dns.clusterDomain),
      host,
      users: await usersOf(pod, context),
    });
    return { config: sandbox, runtimeHandler, notices };
  } catch (cause) {
    if (isAbort(cause) || signal.aborted) throw cause;
    throw new AgentError({ code: 'POD_SANDBOX_CONFIG', message: describeError(cause), cause });
  }
}

/** Throws with upstream's text unless the handler's runtime can map users. `handlers`: what the runtime told of each. */
function assertUserNamespaces(handler: string, handlers: ReadonlyMap<string, boolean> | undefined): void {
  if (handlers?.get(handler) === true) return;
  const who = handler === '' ? 'runtime' : `RuntimeClass handler "${handler}"`;
  const unknown = handlers?.size && !handlers.has(handler) ? `: the handler "${handler}" is not known` : '';
  throw new Error(`can't set \`spec.hostUsers: false\`, ${who} does not support user namespaces${unknown}`);
}

async function usersOf(pod: Pod, { users }: MakingContext): Promise<IdMapping | undefined> {
  return pod.spec.hostUsers === false ? users.forPod(pod.metadata.uid as string) : undefined;
}

export async function makeContainerMaterials(
  request: ContainerRequest,
  context: MakingContext,
  signal: AbortSignal,
): Promise<ContainerMaterials> {
  const { pod, container, restartCount, podIps, volumes, image } = request;
  const { options, layout, host, security } = context;
  try {
    const { variables, notices } = await environment(request, context, signal);
    const planned = planMounts(container, volumes, {
      environment: variables,
      recursiveReadOnly: options.runtimeSupports?.recursiveReadOnly === true,
    });
    const podDir = layout.podDir(pod.metadata.uid as string);
    const { mounter } = context;
    const mounts = await makeMounts(planned, {
      podDir,
      container: container.name,
      mounter,
      log: options.log,
      images: image.volumes,
      signal,
    });
    const name = pod.spec.hostNetwork
      ? { hostname: options.node().hostname, name: options.node().hostname, domain: '' }
      : podHostname(pod, options.dns.clusterDomain);
    const hosts = await etcHostsMount({ pod, container, podIps, podDir }, name);
    const message = await terminationLogMount({ pod, container, restartCount, podDir });
    await makeLogFolder(context.logDir, pod, container);
    const config = makeContainerConfig({
      pod,
      container,
      restartCount,
      image,
      environment: variables,
      mounts: [...mounts, ...(hosts ? [hosts] : []), ...(message ? [message] : [])],
      targetContainerId: request.targetContainerId,
      users: await usersOf(pod, context),
      host,
      security,
    });
    return { config: withStorage(config, container, volumes), notices };
  } catch (error) {
    if (isAbort(error) || errorCode(error) === 'CONTAINER_CONFIG') throw error;
    throw configError(describeError(error), error);
  }
}

/** Block devices, and the groups that files of volumes belong to. */
function withStorage(config: ContainerConfig, container: AnyContainer, volumes: PodVolumes): ContainerConfig {
  const devices = planDevices(container, volumes);
  const groups = [...volumes.values()].flatMap(({ group }) => (group === undefined ? [] : [group]));
  const security = config.linux?.securityContext;
  if (groups.length > 0 && security)
    security.supplementalGroups = [...new Set([...(security.supplementalGroups ?? []), ...groups])];
  return devices.length > 0 ? { ...config, devices } : config;
}

async function environment(request: ContainerRequest, context: MakingContext, signal: AbortSignal) {
  const { pod, podIps } = request;
  const container: AnyContainer = request.container;
  const { options, references } = context;
  const { services } = options;
  if (!services.synced() && !isStaticPod(pod))
    throw configError('services have not yet been read at least once, cannot construct envvars');
  const namespace = pod.metadata.namespace as string;
  const objects = new Map<string, Referenced>();
  await Promise.all(
    envReferences(container).map(async ({ kind, name }) => {
      const ref = { kind, namespace, name };
      try {
        objects.set(referenceKey(ref), await references.get(ref, signal));
      } catch (error) {
        // Whether its absence matters is for the environment to say, in the order of its variables.
        if (errorCode(error) !== 'REFERENCE_ABSENT') throw error;
      }
    }),
  );
  const { hostIps, allocatable } = options.node();
  return makeEnvironment({
    pod,
    container,
    resolved: (kind, name) => objects.get(referenceKey({ kind, namespace, name })),
    serviceVariables: serviceVariables(services.list(), namespace, pod.spec.enableServiceLinks !== false),
    allocatable,
    hostIps,
    podIps,
    relaxedNames: options.relaxedEnvNames ?? true,
  });
}
