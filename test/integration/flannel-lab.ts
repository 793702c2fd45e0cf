import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentError, type Clock, type Logger, silentLogger, systemClock } from '../../src/core/index.ts';
import {
  Flannel,
  type FlannelNode,
  type FlannelOptions,
  type NodeStore,
  type SubnetChange,
} from '../../src/flannel/index.ts';
import { createIp, type Exec, hostExec, NetMonitor, type Sysctl } from '../../src/host/index.ts';

const CNI_BIN = ['/usr/lib/cni', '/opt/cni/bin'].find((dir) => spawnSync('test', ['-x', `${dir}/bridge`]).status === 0);

const has = (tool: string) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;
const PING = has('ping') ? ['ping'] : ['busybox', 'ping'];

/** Why these tests can't run here; undefined if they can. */
export function labMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (CNI_BIN === undefined) return 'needs the CNI plugins (containernetworking-plugins)';
  for (const tool of ['ip', 'bridge', 'iptables', PING[0] as string]) if (!has(tool)) return `needs ${tool}`;
  return undefined;
}

export const sh = (...argv: string[]): string =>
  execFileSync(argv[0] as string, argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
export const inNs = (ns: string, ...argv: string[]): string => sh('ip', 'netns', 'exec', ns, ...argv);

/** Waits until `check` holds (it may throw); fails with its last error. */
export async function eventually(what: string, check: () => boolean | Promise<boolean>, ms = 8_000): Promise<number> {
  const start = performance.now();
  let last: unknown;
  while (performance.now() - start < ms) {
    try {
      if (await check()) return performance.now() - start;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`not within ${ms} ms: ${what}`, { cause: last });
}

/** The API server's nodes, as a store that every host sees and a patch that changes it. */
class FakeCluster implements NodeStore {
  readonly #nodes = new Map<string, FlannelNode>();
  readonly #handlers = new Set<(change: { key: string; object: FlannelNode }) => void>();
  readonly patches: { node: string; body: unknown }[] = [];
  #version = 0;
  synced = true;
  get = (name: string) => this.#nodes.get(name);
  list = () => [...this.#nodes.values()];
  whenSynced = async () => {};
  onReachable = () => () => {};
  subscribe = (handler: (change: { key: string; object: FlannelNode }) => void) => {
    for (const [key, object] of this.#nodes) handler({ key, object });
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  };

  put(name: string, podCIDRs: string[], annotations: Record<string, string> = {}): void {
    this.#set(name, {
      metadata: { name, uid: `uid-${++this.#version}`, annotations },
      spec: { podCIDR: podCIDRs[0], podCIDRs },
    });
  }

  remove(name: string): void {
    const object = this.#nodes.get(name);
    if (object === undefined) return;
    this.#nodes.delete(name);
    for (const handler of this.#handlers) handler({ key: name, object });
  }

  annotate(name: string, annotations: Record<string, string | null>): void {
    const old = this.#nodes.get(name) as FlannelNode;
    const merged = { ...old.metadata.annotations, ...annotations };
    const kept = Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== null);
    this.#set(name, { ...old, metadata: { ...old.metadata, annotations: Object.fromEntries(kept) } });
  }

  patch = async <T>(path: string, _kind: string, body: unknown): Promise<T> => {
    const name = path.split('/')[4] as string;
    this.patches.push({ node: name, body });
    this.annotate(name, (body as { metadata: { annotations: Record<string, string | null> } }).metadata.annotations);
    return {} as T;
  };

  #set(name: string, node: FlannelNode): void {
    node.metadata.resourceVersion = String(++this.#version);
    this.#nodes.set(name, node);
    for (const handler of this.#handlers) handler({ key: name, object: node });
  }
}

/** Hosts in network namespaces on one switch; `10.99.0.K`, `fd00:99::K` on eth0. */
export class Lab {
  readonly #prefix: string;
  readonly #namespaces: string[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  readonly cluster = new FakeCluster();

  constructor(name: string) {
    this.#prefix = `kat-flannel-${name}`;
  }

  #switch(): void {
    if (this.#namespaces.length > 0) return;
    this.#netns('sw');
    sh('ip', '-n', this.ns('sw'), 'link', 'add', 'br0', 'type', 'bridge');
    sh('ip', '-n', this.ns('sw'), 'address', 'add', '10.99.0.254/24', 'dev', 'br0');
    sh('ip', '-n', this.ns('sw'), 'link', 'set', 'br0', 'up');
  }

  ns(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #netns(name: string): string {
    const ns = this.ns(name);
    spawnSync('ip', ['netns', 'del', ns]);
    sh('ip', 'netns', 'add', ns);
    sh('ip', '-n', ns, 'link', 'set', 'lo', 'up');
    this.#namespaces.push(ns);
    return ns;
  }

  host(name: string, k: number): string {
    this.#switch();
    const ns = this.#netns(name);
    sh('ip', '-n', this.ns('sw'), 'link', 'add', `v-${name}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns);
    sh('ip', '-n', this.ns('sw'), 'link', 'set', `v-${name}`, 'master', 'br0', 'up');
    inNs(ns, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
    this.address(name, k);
    return ns;
  }

  address(name: string, k: number): void {
    const ns = this.ns(name);
    sh('ip', '-n', ns, 'address', 'flush', 'dev', 'eth0', 'scope', 'global');
    sh('ip', '-n', ns, 'address', 'add', `10.99.0.${k}/24`, 'dev', 'eth0');
    sh('ip', '-n', ns, 'address', 'add', `fd00:99::${k}/64`, 'dev', 'eth0', 'nodad');
    sh('ip', '-n', ns, 'link', 'set', 'eth0', 'up');
    sh('ip', '-n', ns, 'route', 'replace', 'default', 'via', '10.99.0.254');
  }

  /** Starts flannel as the agent of host `name` would; the Node must be put by the test. */
  async agent(
    name: string,
    options: Partial<FlannelOptions> & { clusterCidrs?: string[]; backend?: string; hide?: RegExp } = {},
  ) {
    const ns = this.ns(name);
    const dir = await mkdtemp(join(tmpdir(), `${ns}-`));
    const { clusterCidrs = ['10.42.0.0/16'], backend = 'vxlan', hide, ...rest } = options;
    const exec = nsExec(ns, hide);
    const log = process.env.FLANNEL_LOG ? consoleLogger(name) : silentLogger;
    const monitor = new NetMonitor({ log, clock: systemClock, wrap: (argv) => ['ip', 'netns', 'exec', ns, ...argv] });
    const changes: SubnetChange[] = [];
    const paths = {
      netConf: join(dir, 'net-conf.json'),
      conflist: join(dir, 'net.d/10-flannel.conflist'),
      plainConflist: join(dir, 'plain.d/10-flannel.conflist'),
      subnetEnv: join(dir, 'run/subnet.env'),
      hostLocal: join(dir, 'networks/cbr0'),
      cniBin: CNI_BIN as string,
    };
    const flannel = new Flannel({
      nodeName: name,
      nodeIps: [],
      nodeExternalIps: [],
      serverConfig: { backend, clusterCidrs, ipv6Masq: false, externalIp: false },
      paths,
      client: this.cluster,
      nodes: this.cluster,
      monitor,
      exec: exec,
      ip: createIp(exec),
      sysctl: nsSysctl(exec),
      log,
      clock: hurried,
      onSubnetChanged: (change) => changes.push(change),
      ...rest,
    });
    const abort = new AbortController();
    await monitor.start(abort.signal);
    await flannel.start(abort.signal);
    let closed = false;
    const close = async () => {
      if (closed) return;
      closed = true;
      await flannel.stop();
      await monitor.stop();
      abort.abort();
      await rm(dir, { recursive: true, force: true });
    };
    this.#closers.push(close);
    return { flannel, paths, dir, changes, close, calls: exec.calls };
  }

  /** Makes a pod-like namespace on a host with the written conflist, as containerd would; gives its addresses. */
  async pod(host: string, pod: string, paths: FlannelOptions['paths']): Promise<string[]> {
    const ns = this.#netns(`${host}-${pod}`);
    await eventually('conflist', async () => (await readFile(paths.conflist, 'utf8')) !== '');
    const conflist = JSON.parse(await readFile(paths.conflist, 'utf8')) as {
      name: string;
      cniVersion: string;
      plugins: (Record<string, unknown> & { ipam: object })[];
    };
    const { name, cniVersion, plugins } = conflist;
    const [bridge] = plugins;
    const conf = { name, cniVersion, ...bridge, ipam: { ...bridge?.ipam, dataDir: join(paths.hostLocal, '..') } };
    const env = {
      CNI_COMMAND: 'ADD',
      CNI_CONTAINERID: pod,
      CNI_NETNS: `/run/netns/${ns}`,
      CNI_IFNAME: 'eth0',
      CNI_PATH: CNI_BIN,
    };
    const out = spawnSync('ip', ['netns', 'exec', this.ns(host), `${CNI_BIN}/bridge`], {
      input: JSON.stringify(conf),
      encoding: 'utf8',
      env: { ...process.env, ...env } as NodeJS.ProcessEnv,
    });
    if (out.status !== 0) throw new Error(`bridge plugin: ${out.stdout}${out.stderr}`);
    return (JSON.parse(out.stdout) as { ips: { address: string }[] }).ips.map(
      (ip) => ip.address.split('/')[0] as string,
    );
  }

  ping(from: string, to: string): boolean {
    return spawnSync('ip', ['netns', 'exec', this.ns(from), ...PING, '-c1', '-W1', to]).status === 0;
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()));
    for (const ns of this.#namespaces.reverse()) spawnSync('ip', ['netns', 'del', ns]);
  }
}

/** The minute between two looks at the rules passes in a moment. */
const hurried: Clock = { ...systemClock, after: (ms, fn) => systemClock.after(ms === 60_000 ? 500 : ms, fn) };

function nsExec(ns: string, hide = /^$/): Exec & { calls: string[][] } {
  const calls: string[][] = [];
  return {
    calls,
    run: async (argv, options) => {
      if (hide.test(argv[0] ?? '')) throw new AgentError({ code: 'EXEC_NOT_FOUND', message: `no ${argv[0]}` });
      calls.push([...argv, ...(options?.input ? [String(options.input)] : [])]);
      return hostExec.run(['ip', 'netns', 'exec', ns, ...argv], options);
    },
  };
}

function nsSysctl(exec: Exec): Sysctl {
  const path = (key: string) => `/proc/sys/${key}`;
  return {
    get: async (key) => (await exec.run(['cat', path(key)], { okCodes: [1] })).stdout.trim() || undefined,
    set: async (key, value) => void (await exec.run(['tee', path(key)], { input: value })),
  };
}

function consoleLogger(name: string): Logger {
  const say = (level: string) => (message: string, fields?: object) =>
    console.error(level, name, message, fields ?? '');
  return { debug: say('D'), info: say('I'), warn: say('W'), error: say('E'), child: () => consoleLogger(name) };
}
