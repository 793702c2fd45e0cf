import { availableParallelism } from 'node:os';
import type { AgentConfig, KubeletSettings, NodeMeta } from '../config/index.ts';
import { type Cidr, type Clock, cidrContains, type Logger, parseCidr } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import type { Exec } from '../host/index.ts';
import { Informer, KubeEventRecorder, type Node, type Service } from '../kube/index.ts';
import {
  ApiPodSource,
  cgroupEvents,
  createDocuments,
  createMaterials,
  createProbeRunner,
  DesiredCache,
  enforcementEvent,
  type HealthCheck,
  HealthzServer,
  KubeletServer,
  kubeletVersion,
  LeaseKeeper,
  type MirrorKeeper,
  NodeController,
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
import { nodeEviction } from './eviction.ts';
import type { HostFacts } from './host-facts.ts';
import { createImagePuller } from './image-puller.ts';
import { nodeIdentity } from './node-identity.ts';
import { nodeShutdown } from './node-shutdown.ts';
import type { AgentPaths } from './paths.ts';
import { runtimeClassHandlers } from './runtime-classes.ts';
import type { Stack } from './stack.ts';
import { startStaticPods } from './static-pods.ts';
import { storageNode } from './storage-node.ts';
import { startUpkeep } from './upkeep.ts';
import type { Uplink } from './uplink.ts';

/** A network that is about to come up is no event; at a board's start it takes half a second. */
const NETWORK_PATIENCE_MS = 5_000;

export interface KubeletInput {
  config: AgentConfig;
  meta: NodeMeta;
  settings: KubeletSettings;
  paths: AgentPaths;
  facts: HostFacts;
  uplink: Uplink;
  cri: Cri;
  criStarted: Promise<void>;
  nodes: Informer<Node>;
  pauseImage: string;
  /** `v1.36.3+k3s1` */
  serverVersion: string;
  stack: Stack;
  exec: Exec;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Called as each part comes up. */
  onPart: (parts: Partial<Kubelet>) => void;
}

export interface Kubelet {
  node: NodeController;
  lease: LeaseKeeper;
  pods: PodManager;
  server: KubeletServer;
}

/** Registers the Node at once; pods and the kubelet API follow as soon as the container runtime answers. */
export async function startKubelet(input: KubeletInput): Promise<Kubelet> {
  const { uplink, cri, stack, clock, log, signal } = input;
  const client = uplink.kubelet;
  const name = uplink.joined.nodeName;
  const version = kubeletVersion(input.serverVersion);
  const identity = () => nodeIdentity({ ...input, ...input.facts, joined: uplink.joined, kubeletVersion: version });
  const late: Late = {};
  const recorder = new KubeEventRecorder({
    client,
    component: 'kubelet',
    host: name,
    clock,
    log: log.child({ part: 'events' }),
    // While joining, nothing is as urgent as becoming ready.
    whenQuiet: (inner) => late.pods?.whenQuiet(inner) ?? Promise.race([node.whenReady(), clock.sleep(60_000, inner)]),
  });
  // The kubelet's events name the node as their uid; kubectl describe looks for that.
  const nodeEvent = ({ type, reason, message }: NodeEvent) =>
    recorder.event({ apiVersion: 'v1', kind: 'Node', name, uid: name }, type, reason, message);
  const eviction = nodeEviction({
    ...input,
    event: nodeEvent,
    changed: () => node.poke(),
    log: log.child({ part: 'eviction' }),
  });
  const node: NodeController = new NodeController({
    client,
    identity: identity(),
    runtime: cri.runtime,
    images: () => cri.images.listImages(),
    maxImages: input.settings.nodeStatusMaxImages,
    reportMs: input.settings.nodeStatusReportFrequency,
    pressure: () => eviction.manager.conditions(),
    notReady: () => (late.shutdown?.shuttingDown ? 'node is shutting down' : undefined),
    volumesInUse: () => late.volumesInUse?.(),
    event: nodeEvent,
    clock,
    log: log.child({ part: 'node' }),
  });
  input.nodes.subscribe(({ type, key, object }) => {
    if (key !== name) return;
    node.observed(type === 'deleted' ? undefined : object);
    late.mirrors?.poke();
  });
  cri.events.subscribe((event) => {
    if (event.type === 'images') node.imagesChanged();
    else if (event.type === 'resync') node.poke();
  });
  uplink.renewer.onRenewed(() => {
    node.update(identity());
    late.pods?.hostIpsChanged();
  });
  for (const event of cgroupEvents(input.facts.cgroupVersion, version)) nodeEvent(event);
  await stack.start('node', node, signal);
  const lease = new LeaseKeeper({
    client,
    nodeName: name,
    nodeUid: () => node.uid,
    durationSeconds: input.settings.nodeLeaseDurationSeconds,
    clock,
    log: log.child({ part: 'lease' }),
  });
  await stack.start('node lease', lease, signal);
  input.onPart({ node, lease });
  const podSource = new ApiPodSource({ client, nodeName: name, clock, log: log.child({ part: 'pods' }) });
  await stack.start('pod watch', podSource, signal);
  const { source, mirrors } = await startStaticPods({
    ...input,
    defaultPath: input.paths.podManifests,
    client,
    nodeName: name,
    node,
    server: podSource,
    log: log.child({ part: 'static-pods' }),
  });
  late.mirrors = mirrors;
  const services = serviceInformer(input);
  await stack.start('service watch', services, signal);

  await input.criStarted;
  node.poke();
  const pressures = () => eviction.manager.pressures;
  const pods = await startPods({ ...input, node, nodeEvent, services, podSource: source, recorder, pressures, late });
  input.onPart({ pods });
  const upkeep = await startUpkeep({
    ...input,
    pods,
    externalRuntime: input.config.containerRuntimeEndpoint !== undefined,
    nodeEvent: (type, reason, message) => nodeEvent({ type, reason, message }),
  });
  await stack.start('eviction', eviction.manager, signal);
  eviction.attach(pods, (inner) => upkeep.images.freeImages(undefined, inner));
  const shutdown = nodeShutdown({
    settings: input.settings,
    pods,
    changed: () => node.poke(),
    event: nodeEvent,
    clock,
    log: log.child({ part: 'shutdown' }),
  });
  if (shutdown) late.shutdown = await stack.start('node shutdown', shutdown, signal);
  const server = kubeletServer(input, pods, (uid) => mirrors.translate(uid));
  const loopback = uplink.joined.nodeIps[0]?.includes(':') ? '::1' : '127.0.0.1';
  const health = new HealthzServer({
    bindAddress: input.settings.healthzBindAddress ?? loopback,
    port: input.settings.healthzPort,
    checks: healthChecks(input),
    log: log.child({ part: 'healthz' }),
  });
  if (input.settings.healthzPort !== 0) await stack.start('health page', health, signal);
  const serving = uplink.joined.serving.then(async (first) => {
    let pair = first;
    const api = server(() => pair);
    uplink.renewer.onRenewed((renewal) => {
      pair = renewal.serving;
      api.reload();
    });
    return await stack.start('kubelet API', api, signal);
  });
  input.onPart({ server: await serving });
  return { node, lease, pods, server: await serving };
}

/** What is made after those that ask it. */
interface Late {
  pods?: PodManager;
  volumesInUse?: () => string[] | undefined;
  mirrors?: MirrorKeeper;
  shutdown?: NodeShutdown;
}

interface PodsInput extends KubeletInput {
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

async function startPods(input: PodsInput): Promise<PodManager> {
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
function serviceInformer({ uplink, clock, log }: KubeletInput): Informer<Service> {
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

function kubeletServer(input: KubeletInput, pods: PodManager, translateUid: (uid: string) => string) {
  const { uplink, config, cri, clock, log, settings } = input;
  const ipv6 = uplink.joined.nodeIps[0]?.includes(':') === true;
  return (serving: () => { cert: string; key: string }) =>
    new KubeletServer({
      bindAddress: settings.address ?? config.bindAddress ?? (ipv6 ? '::' : '0.0.0.0'),
      port: settings.port,
      debugging: settings.enableDebuggingHandlers,
      nodeName: uplink.joined.nodeName,
      serving,
      clientCa: () => uplink.joined.clientCa,
      kube: uplink.kubelet,
      pods: () => pods.pods(),
      translateUid,
      runtime: cri.runtime,
      events: cri.events,
      checks: healthChecks(input),
      documents: createDocuments({
        nodeName: uplink.joined.nodeName,
        runtime: cri.runtime,
        rootDir: input.paths.kubeletDir,
        clock,
      }),
      clock,
      log: log.child({ part: 'kubelet-api' }),
    });
}

/** What /healthz looks at besides its own answering; `syncloop` is the kubelet's name for it. */
function healthChecks({ cri }: KubeletInput): HealthCheck[] {
  return [
    {
      name: 'syncloop',
      check: () => {
        if (cri.status().state === 'failing') throw new Error('the container runtime is down');
      },
    },
  ];
}

/** Whether every address lies in one of the blocks. */
export function within(blocks: readonly string[]): (addresses: readonly string[]) => boolean {
  const parsed: Cidr[] = blocks.map(parseCidr);
  return (addresses) => addresses.every((address) => parsed.some((block) => cidrContains(block, address)));
}
