import type { AgentConfig } from '../config/index.ts';
import { type Clock, formatCidr, type Logger, splitHostPort } from '../core/index.ts';
import { borrowAddress, type Exec, type NetEvent, type NetMonitor } from '../host/index.ts';
import {
  chooseNodeIps,
  createJoin,
  createRenewer,
  createSupervisor,
  type Joined,
  type JoinOptions,
  type JoinProgress,
  joinPaths,
  type NetworkFacts,
  networkFacts,
  type Renewer,
} from '../join/index.ts';
import { KubeClient, type Pod } from '../kube/index.ts';
import { LoadBalancer } from '../loadbalancer/index.ts';
import { type EgressMode, type PodReach, podReach, ServersSource, TunnelManager, withPort } from '../tunnel/index.ts';
import type { AgentPaths } from './paths.ts';
import type { Stack } from './stack.ts';

/** The board's way to its servers. */
export interface Uplink {
  /** As of the join or the last renewal. */
  readonly joined: Joined;
  /** The kubelet's identity, `system:node:NAME`. */
  readonly kubelet: KubeClient;
  /** `system:k3s-controller`: may list what newer servers hide from kubelets. */
  readonly controller: KubeClient;
  readonly balancers: readonly LoadBalancer[];
  readonly tunnels: TunnelManager;
  readonly renewer: Renewer;
}

export interface UplinkInput {
  config: AgentConfig;
  paths: AgentPaths;
  stack: Stack;
  monitor: NetMonitor;
  exec: Exec;
  userAgent: string;
  /** Pods of this node, for the tunnel's `pod` egress mode. */
  pods: () => readonly Pod[];
  kubeletPort: number;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  onBalancer: (balancer: LoadBalancer) => void;
  onJoin: (progress: JoinProgress) => void;
}

/** Local addresses of the two balancers, and the servers' own where they are switched off. */
interface Urls {
  supervisor: string;
  api: (joined: Pick<Joined, 'config'>) => string;
}

/**
 * Starts the load balancer, joins through it (for as long as that takes), then opens clients and tunnels and keeps the
 * certificates alive. Order matters only where it is awaited: the tunnel's health moves the balancer, the list of
 * servers moves both.
 */
export async function openUplink(input: UplinkInput): Promise<Uplink> {
  const { config, paths, stack, clock, log, signal, monitor } = input;
  const server = config.server as string;
  const ipv6 = config.nodeIps[0]?.includes(':') === true;
  const balancer = config.disableApiserverLb
    ? undefined
    : new LoadBalancer({
        name: 'supervisor',
        serverUrl: server,
        listenPort: config.lbServerPort,
        ipv6,
        stateFile: paths.supervisorLbState,
        log: log.child({ part: 'balancer' }),
        clock,
      });
  if (balancer) input.onBalancer(await stack.start('load balancer', balancer, signal));
  const urls = urlsOf(config, balancer, ipv6);

  const joinOptions: JoinOptions = {
    server,
    dialUrl: urls.supervisor,
    token: config.token,
    tokenFile: config.tokenFile,
    paths: joinPaths(config.dataDir),
    nodeName: config.nodeName,
    withNodeId: config.withNodeId,
    nodeIps: config.nodeIps,
    nodeExternalIps: config.nodeExternalIps,
    flannelIface: config.flannelIface,
    resolvConf: config.resolvConf,
    apiServerUrl: (serverConfig) => urls.api({ config: serverConfig }),
    userAgent: input.userAgent,
    log: log.child({ part: 'join' }),
    clock,
    random: Math.random,
    onProgress: input.onJoin,
  };
  const join = createJoin(joinOptions);
  const stopWatching = monitor.subscribe(() => join.retry());
  const joined = await join.run(signal);
  stopWatching();

  const balancers = balancer ? [balancer] : [];
  const api = await apiBalancer(input, joined, ipv6);
  if (api) balancers.push(api);

  const client = (name: 'client-kubelet' | 'client-k3s-controller') =>
    new KubeClient({
      server: joined.apiServerUrl,
      credentials: { ca: joined.serverCa, ...pair(joined, name) },
      userAgent: input.userAgent,
      log: log.child({ part: 'api' }),
    });
  const kubelet = client('client-kubelet');
  const controller = client('client-k3s-controller');

  const renewer = createRenewer(joinOptions, joined);
  const tunnels = new TunnelManager({
    firstServer: addressOf(server),
    credentials: () => ({ ca: renewer.current.serverCa, ...pair(renewer.current, 'client-kubelet') }),
    onHealth: (address, ok, reason) => {
      balancer?.setHealth(address, ok, reason);
      // One host, two ports: its tunnel speaks for both.
      for (const same of withPort([address], joined.config.httpsPort)) api?.setHealth(same, ok, reason);
      if (!ok) return;
      // A tunnel that opened proves the way to the server: whoever waits in a backoff may try now.
      kubelet.wake();
      controller.wake();
    },
    onServers: (servers) => balancer?.setServers(servers),
    borrowAddress: (address) => borrowAddress(input.exec, address),
    facts: () => ({
      mode: (renewer.current.config.egressSelectorMode || 'agent') as EgressMode,
      kubeletPort: input.kubeletPort,
      nodeIps: renewer.current.nodeIps,
      clusterCidrs: renewer.current.config.podCidrs.map(formatCidr),
      pods: reachable(input.pods),
    }),
    kubeletAddress: () => config.bindAddress ?? '',
    clock,
    log: log.child({ part: 'tunnel' }),
  });
  await stack.start('tunnels', tunnels, signal);
  const ports = joined.config;
  const source = new ServersSource({
    client: controller,
    apiServers: (inner) => askApiServers(renewer.current, urls.supervisor, input, inner),
    onAddresses: (addresses) => {
      api?.setServers(addresses);
      const own = Number(splitHostPort(addressOf(server))?.port);
      tunnels.setServers(ports.httpsPort === ports.supervisorPort ? addresses : withPort(addresses, own));
    },
    clock,
    log: log.child({ part: 'servers' }),
  });
  await stack.start('server list', source, signal);

  renewer.onRenewed(({ joined: now, certificates, cas }) => {
    if (cas || certificates.includes('client-kubelet')) {
      kubelet.setCredentials({ ca: now.serverCa, ...pair(now, 'client-kubelet') });
      tunnels.renew();
    }
    if (cas || certificates.includes('client-k3s-controller'))
      controller.setCredentials({ ca: now.serverCa, ...pair(now, 'client-k3s-controller') });
  });
  await stack.start('certificate renewal', renewer, signal);
  monitor.subscribe((events) => {
    if (!events.some(concernsUplink)) return;
    tunnels.wake();
    void networkFacts().then((facts) => {
      const has = new Set(Object.values(facts.interfaces).flatMap((list) => list?.map(({ address }) => address) ?? []));
      for (const each of balancers) each.addressesChanged(has);
      if (!addressesDiffer(config, renewer.current, facts)) return;
      if (balancers.length === 0) for (const each of [kubelet, controller]) each.reconnect();
      renewer.poke('the addresses of this board changed');
    });
  });
  return {
    get joined() {
      return renewer.current;
    },
    kubelet,
    controller,
    balancers,
    tunnels,
    renewer,
  };
}

function urlsOf(config: AgentConfig, balancer: LoadBalancer | undefined, ipv6: boolean): Urls {
  const server = config.server as string;
  const host = ipv6 ? '[::1]' : '127.0.0.1';
  return {
    supervisor: balancer?.localUrl ?? server,
    api: ({ config: { httpsPort, supervisorPort } }) => {
      if (httpsPort === supervisorPort) return balancer?.localUrl ?? server;
      if (balancer) return `https://${host}:${config.lbServerPort - 1}`;
      const url = new URL(server);
      url.port = String(httpsPort);
      return url.origin;
    },
  };
}

/** The second balancer, for servers whose API server has a port of its own (k3s pkg/agent/proxy/apiproxy.go). */
async function apiBalancer(input: UplinkInput, joined: Joined, ipv6: boolean): Promise<LoadBalancer | undefined> {
  const { config, stack, signal, log, clock } = input;
  const { httpsPort, supervisorPort } = joined.config;
  if (config.disableApiserverLb || httpsPort === supervisorPort) return undefined;
  const url = new URL(config.server as string);
  url.port = String(httpsPort);
  const balancer = new LoadBalancer({
    name: 'apiserver',
    serverUrl: url.origin,
    listenPort: config.lbServerPort - 1,
    ipv6,
    stateFile: input.paths.apiLbState,
    log: log.child({ part: 'balancer' }),
    clock,
  });
  input.onBalancer(await stack.start('API load balancer', balancer, signal));
  return balancer;
}

async function askApiServers(
  joined: Joined,
  dialUrl: string,
  { userAgent, log }: UplinkInput,
  signal: AbortSignal,
): Promise<string[] | undefined> {
  const supervisor = createSupervisor({
    dialUrl,
    trust: joined.trust,
    credentials: { kind: 'none' },
    client: pair(joined, 'client-kubelet'),
    userAgent,
    log,
  });
  try {
    return await supervisor.apiServers(signal);
  } finally {
    supervisor.close();
  }
}

function pair(joined: Joined, name: 'client-kubelet' | 'client-k3s-controller'): { cert: string; key: string } {
  const { cert, key } = joined.certificates[name];
  return { cert, key };
}

/** `host:port` of a server URL; the port is 443 if it has none. */
function addressOf(server: string): string {
  const url = new URL(server);
  return `${url.hostname}:${url.port || 443}`;
}

/** Worked out only if somebody asks: only the `pod` egress mode does. */
function* reachable(pods: () => readonly Pod[]): Generator<PodReach> {
  for (const pod of pods()) {
    const reach = podReach(pod);
    if (reach) yield reach;
  }
}

/** Pods come and go with a device each; only the others can change the way to the servers. */
function concernsUplink({ kind, dev = '' }: NetEvent): boolean {
  return kind === 'resync' || !/^(veth|cni|flannel|lo$)/.test(dev);
}

function addressesDiffer(config: AgentConfig, joined: Joined, facts: NetworkFacts): boolean {
  try {
    return [...chooseNodeIps(config, facts)].sort().join() !== [...joined.nodeIps].sort().join();
  } catch {
    return false; // no address right now: the next event will tell
  }
}
