import { availableParallelism } from 'node:os';
import { Informer, type KubeEventRecorder, type Service } from '../kube/index.ts';
import {
  createMaterials,
  createProbeRunner,
  DesiredCache,
  enforcementEvent,
  type MirrorKeeper,
  type NodeController,
  type NodeEvent,
  type NodeShutdown,
  PodManager,
  type PodSource,
  type Pressure,
  parseVersion,
  podReference,
} from '../kubelet/index.ts';
import { allocatableCpu, allocatableMemory, allocatableTasks } from './allocatable.ts';
import { patientRuntime } from './arriving-images.ts';
import { createImagePuller } from './image-puller.ts';
import type { KubeletInput } from './kubelet.ts';
import { runtimeClassHandlers } from './runtime-classes.ts';
import { storageNode } from './storage-node.ts';

/** A network that is about to come up is no event; at a board's start it takes half a second. */
const NETWORK_PATIENCE_MS = 5_000;

/** What is made after those that ask it. */
export interface Late {
  pods?: PodManager;
  volumesInUse?: () => string[] | undefined;
  mirrors?: MirrorKeeper;
  shutdown?: NodeShutdown;
}

export interface PodsInput extends KubeletInput {
  node: NodeController;
  nodeEvent(event: NodeEvent): void;
  services: Informer<Service>;
  podSource: PodSource;
  recorder: KubeEventRecorder;
  /** What the node is short of. */
  pressures(): readonly Pressure[];
  /** Where the pods are put once they are there, for those that were made before. */
  late: Late;
}

/** The pods with all they are made of: volumes, images, cgroups, what the runtime can do. */
export async function startPods(input: PodsInput): Promise<PodManager> {
  const { uplink, cri, stack, clock, log, signal, settings, paths, facts, node, services, podSource, recorder } = input;
  const client = uplink.kubelet;
  const hostIps = () => uplink.joined.nodeIps;
  const serverMinor = parseVersion(input.serverVersion)?.[1] ?? 0;
  const tasks = await allocatableTasks(input);
  const materials = createMaterials({
    rootDir: paths.kubeletDir,
    client,
    clock,
    log: log.child({ part: 'volumes' }),
    exec: input.exec,
    node: () => ({
      name: uplink.joined.nodeName,
      labels: node.node?.metadata.labels ?? {},
      taints: node.node?.spec?.taints ?? [],
      allocatable: (node.node?.status?.allocatable ?? {}) as Record<string, string>,
      pressures: input.pressures(),
      shuttingDown: input.late.shutdown?.shuttingDown === true,
      hostIps: hostIps(),
      hostname: facts.hostname,
    }),
    services: { list: () => services.list(), synced: () => services.synced },
    dns: {
      clusterDns: settings.clusterDNS ?? uplink.joined.config.clusterDns,
      clusterDomain: settings.clusterDomain ?? uplink.joined.config.clusterDomain,
      resolvConf: settings.resolvConf ?? uplink.joined.resolvConf,
    },
    cgroups: {
      version: facts.cgroupVersion,
      driver: cri.cgroupDriver() ?? 'cgroupfs',
      memoryBytes: allocatableMemory(input),
      milliCpu: allocatableCpu(input),
      ...(tasks === undefined ? {} : { pids: tasks }),
      enforced: (fault) => input.nodeEvent(enforcementEvent(fault)),
    },
    runtimeSupports: await runtimeSupports(input),
    storage: storageNode({ client, node, onNode: (handler) => input.nodes.subscribe(handler), recorder, serverMinor }),
    // Kubernetes 1.32 let names of environment variables be nearly anything.
    relaxedEnvNames: serverMinor >= 32,
    runtimeHandler: runtimeClassHandlers({ client, path: paths.runtimeClasses }),
    volumeOutdated: (pod, { message }) => recorder.event(podReference(pod), 'Warning', 'FailedMount', message),
    seccompDefault: settings.seccompDefault,
    // ServiceLB's pods of k3s need these two (pkg/daemons/agent/agent_linux.go).
    allowedUnsafeSysctls: ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', ...settings.allowedUnsafeSysctls],
    ...(settings.podPidsLimit > 0 ? { podPidsLimit: settings.podPidsLimit } : {}),
    kernelRelease: facts.system.kernelVersion,
    cpuCfsQuota: settings.cpuCFSQuota,
    swapBytes: settings.swapBehavior === 'LimitedSwap' ? facts.capacity.swap : 0,
    singleProcessOomKill: settings.singleProcessOOMKill ?? false,
    memoryCapacity: facts.capacity.memory,
  });
  input.late.volumesInUse = () => materials.volumesInUse();
  await materials.start(signal);
  const images = await createImagePuller({
    ...input,
    kubeletDir: paths.kubeletDir,
    secret: (namespace, name, inner) => materials.secret(namespace, name, inner),
    log: log.child({ part: 'images' }),
  });
  const pods = new PodManager({
    source: podSource,
    ...(input.late.mirrors ? { mirrors: input.late.mirrors } : {}),
    runtime: patientRuntime(cri, input.pauseImage),
    events: cri.events,
    images,
    materials,
    recorder,
    client,
    probes: createProbeRunner({ runtime: cri.runtime, recorder, clock }),
    nodeName: uplink.joined.nodeName,
    hostIps,
    serverMinor: () => serverMinor,
    clock,
    log: log.child({ part: 'pods' }),
    networkMissing: async (inner) => {
      await node.whenNetwork(NETWORK_PATIENCE_MS, inner);
      return node.networkMissing;
    },
    cache: new DesiredCache({ path: paths.desiredPods, clock, log }),
    crashLoopMaxMs: settings.crashLoopMaxMs,
    slots: Math.max(2, availableParallelism()),
    olderKept: settings.maximumDeadContainersPerContainer,
  });
  input.late.pods = pods;
  await stack.start('volumes', { start: async () => {}, stop: () => materials.stop() }, signal);
  return await stack.start('pods', pods, signal);
}

/** What service environment variables are made of; the rest of a Service stays at the server. */
export function serviceInformer({ uplink, clock, log }: KubeletInput): Informer<Service> {
  return new Informer<Service>({
    client: uplink.kubelet,
    path: '/api/v1/services',
    transform: ({ metadata: { name, namespace, uid, resourceVersion } = {}, spec }) => ({
      metadata: {
        ...(name ? { name } : {}),
        ...(namespace ? { namespace } : {}),
        ...(uid ? { uid } : {}),
        ...(resourceVersion ? { resourceVersion } : {}),
      },
      spec: {
        ...(spec?.clusterIP ? { clusterIP: spec.clusterIP } : {}),
        ...(spec?.ports ? { ports: spec.ports } : {}),
      },
    }),
    clock,
    log: log.child({ part: 'services' }),
  });
}

/** What newer runtimes can do with mounts and users; a runtime that says nothing can do neither. */
async function runtimeSupports({ cri, signal }: KubeletInput) {
  const status = await cri.runtime.status({ signal }).catch(() => undefined);
  const handlers = status?.runtimeHandlers ?? [];
  const features = handlers.find((handler) => handler.name === '')?.features;
  return {
    recursiveReadOnly: features?.recursiveReadOnlyMounts ?? false,
    userNamespaces: new Map(handlers.map(({ name, features }) => [name, features?.userNamespaces ?? false])),
    supplementalGroupsPolicy: status?.features?.supplementalGroupsPolicy ?? false,
  };
}
