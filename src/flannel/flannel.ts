import { AgentError, type Cidr, type Component, describeError, type Family, formatCidr } from '../core/index.ts';
import { type NetEvent, type NetworkState, publishIfChanged, readText } from '../host/index.ts';
import { type Announcer, createAnnouncer } from './announcer.ts';
import { blockOf, gatewaysOf, parseSubnetEnv } from './cni-files.ts';
import { applyDatapath } from './datapath.ts';
import { diffBridge, diffDatapath } from './diff.ts';
import { dropForeignReservations, writeCniFiles } from './files.ts';
import { createFirewall, type Firewall } from './firewall.ts';
import { acceptedSubnets, type Lease, leaseOf } from './lease.ts';
import { type NetConf, netConfText, parseNetConf } from './net-conf.ts';
import type { FlannelNode, FlannelOptions, FlannelStatus, NodeStore } from './options.ts';
import { planDatapath, podMtu, tunnelName } from './plan.ts';
import { createTask, type Task } from './task.ts';
import { chooseUplink, type Uplink } from './uplink.ts';

type Subnets = Partial<Record<Family, Cidr>>;

/** Rules are looked after like the original does; nothing announces that somebody flushed them. */
const RULES_CHECK_MS = 60_000;
/** FDB and neighbour entries are not watched; a look now and then finds what somebody removed by hand. */
const FULL_CHECK_MS = 300_000;
const ETHERNET_MTU = 1_500;

/**
 * flannel's node side: turns the own Node's podCIDR and the other nodes' annotations into the pod network of this host.
 * Four tasks, none waiting for another: CNI files (the Node turns Ready by them), datapath (device, FDB, neighbours,
 * routes), rules, and the own Node's annotations. Each looks at what is there and changes only what differs, so every
 * trigger (node event, kernel event, retry) is just a poke.
 */
export class Flannel implements Component {
  readonly #options: FlannelOptions;
  readonly #abort = new AbortController();
  readonly #firewall: Firewall;
  readonly #announcer: Announcer;
  readonly #leases = new Map<string, { text: string; lease: Lease }>();
  readonly #unsubscribe: (() => void)[] = [];
  #tasks: { files: Task; datapath: Task; rules: Task; annotations: Task } | undefined;
  #conf: NetConf | undefined;
  #confError: string | undefined;
  #uplink: Uplink | undefined;
  #subnets: Subnets = {};
  #ownText = '';
  #subnetsTold = false;
  #previous: { gateways: string[]; mtu: number | undefined } = { gateways: [], mtu: undefined };
  #looked: () => void = () => {};
  readonly #firstLook = new Promise<void>((resolve) => {
    this.#looked = resolve;
  });
  #filesMtu: number | undefined;
  #waiting: string | undefined;
  #issue: string | undefined;
  #subnetIssue: string | undefined;
  #peers = 0;

  constructor(options: FlannelOptions) {
    this.#options = options;
    this.#firewall = createFirewall({ exec: options.exec, log: options.log });
    this.#announcer = createAnnouncer(options);
  }

  /** Returns once it has begun; a wrong configuration shows in {@link status} and the log. */
  async start(parent: AbortSignal): Promise<void> {
    const { log, clock, serverConfig, nodes, ownNode, monitor, client, paths } = this.#options;
    if (serverConfig.backend === 'none' || this.#tasks !== undefined) return;
    const signal = AbortSignal.any([parent, this.#abort.signal]);
    try {
      this.#conf = await this.#loadConf();
      this.#previous = parseSubnetEnv(await readText(paths.subnetEnv).catch(() => undefined));
    } catch (error) {
      this.#confError = describeError(error);
      log.error('flannel is not started', {
        error: this.#confError,
        ...(error instanceof AgentError && error.remedy ? { remedy: error.remedy } : {}),
      });
      return;
    }
    const task = (what: string, work: (signal: AbortSignal) => Promise<void>) =>
      createTask({ what, work, signal, log, clock });
    const tasks = {
      files: task('CNI configuration', () => this.#writeFiles()),
      datapath: task('pod network', (s) => this.#syncDatapath(s)),
      rules: task('masquerade and forward rules', (s) => this.#syncRules(s)),
      annotations: task('flannel annotations', (s) => this.#annotate(s)),
    };
    this.#tasks = tasks;
    void this.#firewall.probe(signal).catch(() => {}); // done before the podCIDR comes; a failure shows with the rules
    this.#unsubscribe.push(
      monitor.subscribe((events) => {
        if (events.some((event) => this.#concerns(event))) tasks.datapath.poke();
      }),
      client.onReachable(() => {
        if (tasks.annotations.lastError !== undefined) tasks.annotations.poke();
      }),
      nodes.subscribe(({ key }) => this.#onNode(key, nodes)),
    );
    if (ownNode !== undefined) this.#unsubscribe.push(ownNode.subscribe(({ key }) => this.#onOwnNode(key, ownNode)));
    void nodes.whenSynced().then(() => tasks.datapath.poke()); // only now leftovers can be told from peers
    this.#every(RULES_CHECK_MS, signal, () => tasks.rules.poke());
    this.#every(FULL_CHECK_MS, signal, () => tasks.datapath.poke());
    tasks.datapath.poke();
  }

  /** Leaves the network as it is: pods go on without the agent. */
  async stop(): Promise<void> {
    this.#abort.abort();
    for (const off of this.#unsubscribe.splice(0)) off();
    const tasks = this.#tasks;
    if (tasks) await Promise.all(Object.values(tasks).map((task) => task.idle()));
  }

  status(): FlannelStatus {
    const tasks = this.#tasks;
    const errors = [
      this.#confError,
      this.#subnetIssue,
      tasks?.files.lastError,
      tasks?.datapath.lastError,
      tasks?.rules.lastError,
      tasks?.annotations.lastError,
      this.#issue,
    ];
    const { choice } = this.#firewall;
    return {
      backend: this.#conf?.backend.type ?? this.#options.serverConfig.backend,
      subnets: this.#subnetTexts(),
      publicIp: this.#uplink?.addresses ?? {},
      iface: this.#uplink?.dev,
      mtu: this.#filesMtu,
      peers: this.#peers,
      netfilter: choice && `${choice.kind}${choice.variant ? ` (${choice.variant})` : ''}: ${choice.reason}`,
      waiting: this.#waiting,
      lastError: errors.find((error) => error !== undefined),
    };
  }

  async #loadConf(): Promise<NetConf> {
    const { flannelConf, serverConfig, paths } = this.#options;
    if (flannelConf === undefined) {
      const text = netConfText(serverConfig);
      await publishIfChanged(paths.netConf, text, 0o644);
      return parseNetConf(text, paths.netConf);
    }
    const text = await readText(flannelConf);
    if (text === undefined)
      throw new AgentError({
        code: 'FLANNEL_CONF',
        message: `the file ${flannelConf} of --flannel-conf does not exist`,
      });
    return parseNetConf(text, flannelConf);
  }

  // --- triggers ---

  #every(ms: number, signal: AbortSignal, fn: () => void): void {
    if (signal.aborted) return;
    const cancel = this.#options.clock.after(ms, () => {
      signal.removeEventListener('abort', cancel);
      if (Object.keys(this.#subnets).length > 0) fn();
      this.#every(ms, signal, fn);
    });
    signal.addEventListener('abort', cancel, { once: true });
  }

  /**
   * Pod interfaces come and go all the time; only the tunnel, the uplink and default routes matter. What is added to the
   * tunnel or as a route is our own doing.
   */
  #concerns({ kind, deleted, dev, subject }: NetEvent): boolean {
    if (kind === 'resync' || subject === 'default') return true;
    if (dev === undefined || (kind === 'route' && !deleted)) return false;
    if (dev.startsWith('flannel')) return deleted || kind === 'link';
    if (dev === this.#options.iface || dev === this.#uplink?.dev) return true;
    return this.#uplink === undefined && !/^(veth|lo$|cni0$)/.test(dev);
  }

  #onNode(key: string, store: NodeStore): void {
    if (key === this.#options.nodeName) {
      if (this.#options.ownNode === undefined) this.#onOwnNode(key, store);
      return;
    }
    const node = store.get(key);
    const lease = node && leaseOf(node);
    const text = lease === undefined ? '' : JSON.stringify(lease);
    if (text === (this.#leases.get(key)?.text ?? '')) return; // status heartbeats change nothing here
    if (lease === undefined) this.#leases.delete(key);
    else this.#leases.set(key, { text, lease });
    this.#tasks?.datapath.poke();
  }

  #onOwnNode(key: string, store: NodeStore): void {
    const node = key === this.#options.nodeName ? store.get(key) : undefined;
    if (node === undefined) return; // deleted: what it was given stays until a new one says otherwise
    const text = JSON.stringify([node.metadata.uid, node.spec?.podCIDR, node.spec?.podCIDRs]);
    const same = text === this.#ownText;
    this.#ownText = text;
    if (same) {
      // Only annotations can matter: our own coming back, or somebody's change of them.
      if (this.#announcer.agreesWith(node)) this.#tasks?.annotations.poke();
      else this.#tasks?.datapath.poke();
      return;
    }
    this.#adoptSubnets(node);
    if (Object.keys(this.#subnets).length === 0) return;
    this.#tasks?.files.poke();
    this.#tasks?.datapath.poke();
    this.#tasks?.rules.poke();
  }

  #own(): FlannelNode | undefined {
    const { nodeName, nodes, ownNode } = this.#options;
    return (ownNode ?? nodes).get(nodeName);
  }

  #adoptSubnets(node: FlannelNode): void {
    const { subnets, issue } = acceptedSubnets(node, this.#conf?.networks ?? {});
    this.#subnetIssue = issue;
    if (Object.keys(subnets).length > 0) this.#subnets = subnets;
  }

  #subnetTexts(): string[] {
    return [this.#subnets[4], this.#subnets[6]].filter((cidr) => cidr !== undefined).map(formatCidr);
  }

  // --- CNI files ---

  async #writeFiles(): Promise<void> {
    const { paths, cniConf, clock, log, onSubnetChanged, onSubnetsKnown } = this.#options;
    const conf = this.#conf;
    if (conf === undefined || Object.keys(this.#subnets).length === 0) return;
    // The uplink's MTU is usually known by now; without an uplink (modem not up yet) pods must not wait for it.
    await Promise.race([this.#firstLook, clock.sleep(500, this.#abort.signal).catch(() => {})]);
    const subnets = this.#subnets;
    const mtu = this.#mtu(conf);
    this.#filesMtu = mtu;
    const question = { paths, subnets, networks: conf.networks, mtu };
    try {
      await writeCniFiles({ ...question, ...(cniConf === undefined ? {} : { cniConf }) });
    } finally {
      const gateways = gatewaysOf(subnets);
      const before = this.#previous.gateways;
      this.#previous = { gateways, mtu };
      const changed = before.length > 0 && before.join() !== gateways.join();
      const dropped = await dropForeignReservations(paths.hostLocal, subnets);
      if (dropped > 0) log.info('address reservations of another subnet dropped', { count: dropped });
      if (changed) {
        const change = { previous: before.map(blockOf), current: this.#subnetTexts() };
        log.warn('the pod subnet of this node changed', { from: change.previous.join(), to: change.current.join() });
        this.#tasks?.datapath.poke();
        await this.#tasks?.datapath.idle(); // cni0 must have its new address before sandboxes are made anew
        onSubnetChanged?.(change);
      } else if (!this.#subnetsTold && cniConf === undefined) onSubnetsKnown?.(this.#subnetTexts());
      this.#subnetsTold = true;
    }
  }

  /** One MTU for all pods: the smaller family's would be safe, but flannel's is IPv4's and IPv6 finds its own. */
  #mtu({ backend, networks }: NetConf): number {
    const family = networks[4] === undefined ? 6 : 4;
    if (this.#uplink !== undefined) return podMtu(backend, this.#uplink.mtu, family);
    return this.#previous.mtu ?? podMtu(backend, ETHERNET_MTU, family);
  }

  // --- datapath ---

  async #syncDatapath(signal: AbortSignal): Promise<void> {
    const { ip, sysctl, log, nodes, nodeName, cniConf } = this.#options;
    const conf = this.#conf;
    if (conf === undefined) return;
    const families = ([4, 6] as const).filter((f) => conf.networks[f] !== undefined);
    const { backend } = conf;
    const fdbOf = backend.type === 'vxlan' ? families.map((f) => tunnelName(f, backend.vni)) : [];
    const state = await ip.read({ families, fdbOf }, signal).catch(async (error) => {
      await ip.check(signal); // says plainly if ip is busybox's
      throw error;
    });
    this.#findUplink(state, families);
    this.#looked();
    const own = this.#own();
    const subnets = this.#subnets;
    if (Object.keys(subnets).length === 0) {
      this.#waiting ??= own === undefined ? 'the Node object' : 'a podCIDR for this node';
      return;
    }
    if (this.#filesMtu !== undefined && this.#filesMtu !== this.#mtu(conf)) this.#tasks?.files.poke();
    const uplink = this.#uplink;
    if (uplink === undefined) return;
    if (backend.type === 'vxlan') this.#announcer.chooseMacs({ state, families, vni: backend.vni, own });
    this.#tasks?.annotations.poke();
    const leases = [...this.#leases.values()].map((entry) => entry.lease);
    const desired = planDatapath({ nodeName, conf, subnets, macs: this.#announcer.macs, uplink, leases });
    const steps = diffDatapath(state, desired, { networks: conf.networks, uplinkDev: uplink.dev, sweep: nodes.synced });
    const also = cniConf === undefined ? diffBridge(state, subnets, gatewaysOf(subnets)) : [];
    for (const { name, why } of steps.made) log.info('tunnel device made', { name, why });
    await applyDatapath({ ip, sysctl, steps, also, state, signal });
    this.#peers = desired.peers;
    const [issue] = desired.issues;
    const missing = families.filter((f) => subnets[f] && !uplink.addresses[f]).map((f) => `IPv${f}`);
    const problem =
      missing.length > 0 ? `${uplink.dev} has no ${missing.join()} address; pods have no tunnel for it` : issue;
    if (problem !== undefined && problem !== this.#issue) log.warn('pod network incomplete', { issue: problem });
    this.#issue = problem;
  }

  #findUplink(state: NetworkState, families: readonly Family[]): void {
    const { iface, nodeIps, log } = this.#options;
    const found = chooseUplink({ state, families, iface, nodeIps, current: this.#uplink });
    if (typeof found === 'string') {
      // A DHCP renewal or a replugged cable takes the route away for a moment: what was right stays.
      const kept = this.#uplink !== undefined && state.links.has(this.#uplink.dev);
      if (this.#waiting !== found && !kept) log.warn('waiting for the uplink', { because: found });
      this.#waiting = found;
      if (!kept) this.#uplink = undefined;
      return;
    }
    const before = this.#uplink;
    if (
      before?.dev !== found.dev ||
      before.addresses[4] !== found.addresses[4] ||
      before.addresses[6] !== found.addresses[6]
    )
      log.info('uplink', { dev: found.dev, mtu: found.mtu, addresses: Object.values(found.addresses).join() });
    this.#uplink = found;
    this.#waiting = undefined;
  }

  // --- rules, annotations ---

  async #syncRules(signal: AbortSignal): Promise<void> {
    const { serverConfig } = this.#options;
    const networks = this.#conf?.networks ?? {};
    await this.#firewall.ensure({ subnets: this.#subnets, networks, ipv6Masq: serverConfig.ipv6Masq }, signal);
  }

  async #annotate(signal: AbortSignal): Promise<void> {
    const own = this.#own();
    const [conf, uplink] = [this.#conf, this.#uplink];
    if (own === undefined || conf === undefined || uplink === undefined) return;
    const onNewMac = () => this.#tasks?.datapath.poke();
    await this.#announcer.announce({ own, conf, uplink, subnets: this.#subnets, onNewMac }, signal);
  }
}
