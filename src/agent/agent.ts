import { type Loaded, loadKubeletSettings, mergeComponentArgs } from '../config/index.ts';
import {
  type Clock,
  createBackoff,
  describeError,
  formatCidr,
  isAbort,
  type Logger,
  systemClock,
} from '../core/index.ts';
import { cniFolders, findCniPlugins } from '../cri/index.ts';
import { Flannel, prepareKernel, trimNode } from '../flannel/index.ts';
import { createIp, createNotifier, type Exec, hostExec, hostSysctl, NetMonitor, type Notifier } from '../host/index.ts';
import { Informer, type KubeClient, type Node } from '../kube/index.ts';
import { containerRuntime, startRuntime } from './container-runtime.ts';
import { hostFacts } from './host-facts.ts';
import { createIdleMemory } from './idle-memory.ts';
import { type Kubelet, startKubelet, within } from './kubelet.ts';
import { type AgentPaths, agentPaths } from './paths.ts';
import { Stack } from './stack.ts';
import { StatusBoard } from './status-board.ts';
import { createStatusServer } from './status-socket.ts';
import { openUplink, type Uplink } from './uplink.ts';
import { VERSION } from './version.ts';

export interface AgentInput {
  loaded: Loaded;
  log: Logger;
  /** Ends the agent. */
  signal: AbortSignal;
  clock?: Clock;
  exec?: Exec;
  notifier?: Notifier;
}

/**
 * The whole agent, top-down. What needs no server runs beside the join: the container runtime, facts of the board.
 * Resolves when everything is stopped; containers and containerd go on.
 */
export async function runAgent(input: AgentInput): Promise<void> {
  const { loaded, log, signal, clock = systemClock, exec = hostExec, notifier = createNotifier() } = input;
  const { config } = loaded;
  const { settings, warnings } = await loadKubeletSettings({
    args: mergeComponentArgs({}, config.kubeletArgs),
    dataDir: config.dataDir,
  });
  const paths = agentPaths(config.dataDir, settings.rootDir);
  for (const warning of [...loaded.warnings, ...warnings]) log.warn(warning);
  log.info('k3s-agent starts', { version: VERSION, server: config.server, node: process.version });

  const stack = new Stack(log);
  const status = new StatusBoard({ config, clock, notifier });
  const common = { config, paths, stack, exec, clock, log, signal };
  try {
    await stack.start(
      'status',
      createStatusServer(() => status.collect()),
      signal,
    );
    const monitor = new NetMonitor({ clock, log: log.child({ part: 'net' }) });
    await stack.start('network monitor', monitor, signal);

    const facts = hostFacts(paths.kubeletDir);
    facts.catch(() => {}); // awaited below, after the join
    const { cri, pauseImage } = await containerRuntime(common);
    status.watch({ cri });
    await stack.start('container runtime', { start: async () => {}, stop: () => cri.stop() }, signal);
    const criStarted = startRuntime(cri, { clock, log, signal, onFault: (error) => status.runtimeFault(error) });
    criStarted.catch(() => {});

    let kubelet: Kubelet | undefined;
    const uplink = await openUplink({
      ...common,
      monitor,
      userAgent: `k3s-agent/${VERSION}`,
      pods: () => kubelet?.pods.pods() ?? [],
      kubeletPort: settings.port,
      onBalancer: (balancer) => status.watchBalancer(balancer),
      onJoin: (progress) => status.joining(progress),
    });
    status.watch({ uplink });
    const { podCidrs, disableKubeProxy, flannelBackend } = uplink.joined.config;
    void prepareKernel({
      exec,
      sysctl: hostSysctl(),
      families: [...new Set(podCidrs.map((cidr) => cidr.family))],
      bridgeNetfilter: !(disableKubeProxy && flannelBackend === 'none'),
      log: log.child({ part: 'kernel' }),
      signal,
    }).catch(
      (error) => !isAbort(error) && log.warn('the kernel could not be prepared', { error: describeError(error) }),
    );

    const serverVersion = await askVersion(uplink, common);
    const nodes = nodeInformer(uplink, await nodeLister(uplink, common), clock, log);
    await stack.start('node watch', nodes, signal);
    let subnets: readonly string[] = [];
    const flannel = flannelOf({
      ...common,
      cniBin: (await findCniPlugins(cniFolders(config.dataDir))).binDirs[0],
      uplink,
      nodes,
      monitor,
      onSubnets: (blocks) => {
        subnets = blocks;
        kubelet?.pods.subnetChanged(within(blocks));
      },
    });
    if (flannel) status.watch({ flannel: await stack.start('flannel', flannel, signal) });

    kubelet = await startKubelet({
      ...common,
      meta: loaded,
      settings,
      facts: await facts,
      uplink,
      cri,
      criStarted,
      pauseImage,
      nodes,
      serverVersion,
      onPart: (parts) => status.watch(parts),
    });
    if (subnets.length > 0) kubelet.pods.subnetChanged(within(subnets));
    const memory = createIdleMemory(clock);
    memory.poke();
    kubelet.pods.onPodsChanged(() => memory.poke());
    await Promise.race([kubelet.node.whenReady(), aborted(signal)]);
    if (!signal.aborted) notifier.ready('the node is ready');
    await aborted(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    notifier.stopping();
    log.info('k3s-agent stops; containers go on');
    await stack.stop();
  }
}

/**
 * Who may list all nodes: kubelets up to Kubernetes 1.31, k3s-controller on servers that are newer. Asked, not guessed by
 * version, as flannel in k3s does.
 */
async function nodeLister(uplink: Uplink, { log, signal }: Pick<AgentInput, 'log' | 'signal'>): Promise<KubeClient> {
  const review = { spec: { resourceAttributes: { verb: 'list', version: 'v1', resource: 'nodes' } } };
  try {
    const { status } = await uplink.kubelet.create<{ status?: { allowed?: boolean } }>(
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', ...review },
      { signal },
    );
    return status?.allowed === true ? uplink.kubelet : uplink.controller;
  } catch (error) {
    if (signal.aborted) throw error;
    log.warn('the server did not say who may list nodes', { error: describeError(error) });
    return uplink.controller;
  }
}

/** All nodes, trimmed to what flannel needs; the own one whole. */
function nodeInformer(uplink: Uplink, client: KubeClient, clock: Clock, log: Logger): Informer<Node> {
  return new Informer<Node>({
    client,
    path: '/api/v1/nodes',
    transform: (node) => (node.metadata.name === uplink.joined.nodeName ? node : trimNode(node)),
    clock,
    log: log.child({ part: 'nodes' }),
  });
}

interface FlannelInput {
  config: Loaded['config'];
  paths: AgentPaths;
  uplink: Uplink;
  nodes: Informer<Node>;
  monitor: NetMonitor;
  cniBin: string | undefined;
  exec: Exec;
  clock: Clock;
  log: Logger;
  onSubnets: (blocks: readonly string[]) => void;
}

function flannelOf(input: FlannelInput): Flannel | undefined {
  const { config, paths, uplink, nodes, monitor, exec, clock, log, onSubnets } = input;
  const server = uplink.joined.config;
  if (server.flannelBackend === 'none') return undefined;
  return new Flannel({
    nodeName: uplink.joined.nodeName,
    nodeIps: uplink.joined.nodeIps,
    nodeExternalIps: config.nodeExternalIps,
    ...(config.flannelIface ? { iface: config.flannelIface } : {}),
    ...(config.flannelConf ? { flannelConf: config.flannelConf } : {}),
    ...(config.flannelCniConf ? { cniConf: config.flannelCniConf } : {}),
    serverConfig: {
      backend: server.flannelBackend,
      clusterCidrs: server.podCidrs.map(formatCidr),
      ipv6Masq: server.flannelIpv6Masq,
      externalIp: server.flannelExternalIp,
    },
    paths: {
      netConf: paths.netConf,
      conflist: paths.conflist,
      plainConflist: paths.plainConflist,
      subnetEnv: '/run/flannel/subnet.env',
      hostLocal: '/var/lib/cni/networks/cbr0',
      ...(input.cniBin ? { cniBin: input.cniBin } : {}),
    },
    client: uplink.kubelet,
    nodes,
    monitor,
    exec,
    ip: createIp(exec),
    sysctl: hostSysctl(),
    clock,
    log: log.child({ part: 'flannel' }),
    onSubnetChanged: ({ current }) => onSubnets(current),
    onSubnetsKnown: onSubnets,
  });
}

/** `v1.36.3+k3s1`; asked until the API server, which starts after the supervisor, answers. */
async function askVersion(
  uplink: Uplink,
  { clock, log, signal }: Pick<Required<AgentInput>, 'clock' | 'log' | 'signal'>,
): Promise<string> {
  const backoff = createBackoff({ initialMs: 200, maxMs: 3_000 });
  while (true)
    try {
      const { gitVersion } = await uplink.kubelet.get<{ gitVersion?: unknown }>('/version', { signal });
      return typeof gitVersion === 'string' ? gitVersion : '';
    } catch (error) {
      if (signal.aborted) throw error;
      if (backoff.attempts === 0) log.warn('the API server does not answer yet', { error: describeError(error) });
      await clock.sleep(backoff.next(), signal);
    }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
