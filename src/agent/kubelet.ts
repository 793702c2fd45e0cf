import type { AgentConfig, KubeletSettings, NodeMeta } from '../config/index.ts';
import { type Cidr, type Clock, cidrContains, type Logger, parseCidr } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import type { Exec } from '../host/index.ts';
import { type Informer, KubeEventRecorder, type Node } from '../kube/index.ts';
import {
  ApiPodSource,
  cgroupEvents,
  type KubeletServer,
  kubeletVersion,
  LeaseKeeper,
  NodeController,
  type NodeEvent,
  type PodManager,
} from '../kubelet/index.ts';
import { nodeEviction } from './eviction.ts';
import type { HostFacts } from './host-facts.ts';
import { imageRoot } from './image-root.ts';
import { startKubeletApi } from './kubelet-api.ts';
import { nodeIdentity } from './node-identity.ts';
import { nodeShutdown } from './node-shutdown.ts';
import type { AgentPaths } from './paths.ts';
import { type Late, serviceInformer, startPods } from './pods.ts';
import type { Stack } from './stack.ts';
import { startStaticPods } from './static-pods.ts';
import { startUpkeep } from './upkeep.ts';
import type { Uplink } from './uplink.ts';

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
  const whereImages = imageRoot(input);
  const eviction = nodeEviction({
    ...input,
    imageRoot: whereImages,
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
    imageRoot: whereImages,
    nodeEvent,
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
  const server = await startKubeletApi({ ...input, pods, translateUid: (uid) => mirrors.translate(uid) });
  input.onPart({ server });
  return { node, lease, pods, server };
}

/** Whether every address lies in one of the blocks. */
export function within(blocks: readonly string[]): (addresses: readonly string[]) => boolean {
  const parsed: Cidr[] = blocks.map(parseCidr);
  return (addresses) => addresses.every((address) => parsed.some((block) => cidrContains(block, address)));
}
