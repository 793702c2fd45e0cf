import type { AgentConfig } from '../config/index.ts';
import { AgentError, type Clock, describeError, rfc3339 } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import type { Flannel } from '../flannel/index.ts';
import type { Notifier } from '../host/index.ts';
import type { JoinProgress } from '../join/index.ts';
import type { KubeletServer, LeaseKeeper, NodeController, PodManager } from '../kubelet/index.ts';
import type { LoadBalancer } from '../loadbalancer/index.ts';
import { type AgentStatus, duration, isHealthy, type PartStatus } from './status.ts';
import type { Uplink } from './uplink.ts';
import { VERSION } from './version.ts';

/** The parts that have come up so far. */
interface Watched {
  cri: Cri;
  uplink: Uplink;
  flannel: Flannel;
  node: NodeController;
  lease: LeaseKeeper;
  pods: PodManager;
  server: KubeletServer;
}

export interface StatusBoardOptions {
  config: AgentConfig;
  clock: Clock;
  notifier: Notifier;
}

/** Renewal is late when a certificate has less than this left; the renewer aims at a third of its life. */
const CERTIFICATE_SOON_MS = 14 * 86_400_000;
/** A lease this old makes the server mark the node unknown. */
const LEASE_LATE_MS = 40_000;

const SERVERS_AWAY =
  'check that k3s runs on the server (systemctl status k3s) and that this board reaches it (ip route; ping); pods go on meanwhile, the agent connects by itself';

/** Gathers what the parts say of themselves when somebody asks; keeps nothing but references and the last faults. */
export class StatusBoard {
  readonly #options: StatusBoardOptions;
  readonly #startedAt: number;
  readonly #watched: Partial<Watched> = {};
  readonly #balancers: LoadBalancer[] = [];
  #join: JoinProgress | undefined;
  #joinFailure: (JoinProgress & { phase: 'failed' }) | undefined;
  #runtimeFault: unknown;

  constructor(options: StatusBoardOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
  }

  watch(parts: Partial<Watched>): void {
    Object.assign(this.#watched, parts);
  }

  watchBalancer(balancer: LoadBalancer): void {
    this.#balancers.push(balancer);
  }

  joining(progress: JoinProgress): void {
    this.#join = progress;
    if (progress.phase === 'failed') this.#joinFailure = progress;
    const { notifier, config } = this.#options;
    if (progress.phase === 'failed') notifier.status(`can not join ${config.server}: ${progress.failure.message}`);
    else if (progress.phase === 'joined' || this.#joinFailure === undefined)
      notifier.status(
        progress.phase === 'joined' ? 'joined, waiting for the node to be ready' : `joining ${config.server}`,
      );
  }

  runtimeFault(error: unknown): void {
    this.#runtimeFault = error;
  }

  collect(): AgentStatus {
    const { config } = this.#options;
    const joined = this.#watched.uplink?.joined;
    const parts = [
      this.#joinPart(),
      ...this.#serverParts(),
      this.#runtimePart(),
      ...this.#nodeParts(),
      ...this.#networkPart(),
      ...this.#podParts(),
      ...this.#certificatePart(),
    ];
    return {
      version: VERSION,
      pid: process.pid,
      startedAt: rfc3339(this.#startedAt),
      nodeName: joined?.nodeName ?? config.nodeName ?? '(name not chosen yet)',
      nodeIps: joined?.nodeIps ?? config.nodeIps,
      server: config.server ?? '',
      healthy: isHealthy(parts),
      parts,
    };
  }

  #joinPart(): PartStatus {
    const progress = this.#join;
    if (progress?.phase === 'joined')
      return { name: 'join', state: 'ok', summary: `joined at try ${progress.attempt}` };
    const failed = this.#joinFailure;
    if (failed === undefined) return { name: 'join', state: 'waiting', summary: 'asking the server' };
    const { failure, retryInMs, attempt } = failed;
    // A try can take half a minute; meanwhile the last one's fault is what a person wants to see.
    const then =
      progress?.phase === 'trying' ? `try ${progress.attempt} is on its way` : `next in ${duration(retryInMs)}`;
    return {
      name: 'join',
      state: 'failed',
      summary: `failed at step ${failure.step}, try ${attempt}; ${then}`,
      lastError: failure.message,
      ...(failure.remedy ? { remedy: failure.remedy } : {}),
    };
  }

  #serverParts(): PartStatus[] {
    const parts: PartStatus[] = [];
    const servers = this.#balancers.flatMap((balancer) => balancer.status());
    if (servers.length > 0) {
      const usable = servers.filter((server) => server.state !== 'FAILED');
      parts.push({
        name: 'servers',
        state: usable.length > 0 ? 'ok' : 'failed',
        summary: `${usable.length} of ${servers.length} usable`,
        details: servers.map(
          (s) =>
            `${s.address} ${s.state}, ${s.connections} connections${s.lastError ? `, last error: ${s.lastError}` : ''}`,
        ),
        ...(usable.length === 0 ? { remedy: SERVERS_AWAY } : {}),
      });
    }
    const tunnels = this.#watched.uplink?.tunnels.status();
    if (tunnels !== undefined) {
      const open = tunnels.filter((tunnel) => tunnel.state === 'open');
      const broken = tunnels.find((tunnel) => tunnel.state !== 'open');
      parts.push({
        name: 'tunnels',
        state: broken === undefined ? 'ok' : open.length > 0 ? 'waiting' : 'failed',
        summary: `${open.length} of ${tunnels.length} open`,
        details: tunnels.map((tunnel) => `${tunnel.server} ${tunnel.state}`),
        ...(broken?.lastError ? { lastError: broken.lastError } : {}),
      });
    }
    return parts;
  }

  #runtimePart(): PartStatus {
    const status = this.#watched.cri?.status();
    const fault = this.#runtimeFault;
    const remedy = fault instanceof AgentError ? fault.remedy : undefined;
    if (status === undefined) return { name: 'containerd', state: 'waiting', summary: 'not started yet' };
    const lastError = fault === undefined ? status.lastError : describeError(fault);
    return {
      name: 'containerd',
      state:
        status.state === 'running'
          ? 'ok'
          : status.state === 'starting' && lastError === undefined
            ? 'waiting'
            : 'failed',
      summary: [status.state, status.version, status.pid && `pid ${status.pid}`, status.socket]
        .filter(Boolean)
        .join(', '),
      ...(lastError && status.state !== 'running' ? { lastError } : {}),
      ...(remedy ? { remedy } : {}),
    };
  }

  #nodeParts(): PartStatus[] {
    const { node, lease } = this.#watched;
    const parts: PartStatus[] = [];
    if (node)
      parts.push({
        name: 'node',
        state: node.deleted ? 'failed' : node.notReady.length > 0 ? 'waiting' : node.lastError ? 'failed' : 'ok',
        summary: node.deleted
          ? 'the Node object was deleted'
          : node.notReady.length > 0
            ? node.notReady.join('; ')
            : 'Ready',
        ...(node.lastError ? { lastError: node.lastError } : {}),
        ...(node.deleted ? { remedy: 'to join the cluster again: systemctl restart k3s-agent' } : {}),
      });
    if (lease) {
      const age = lease.renewedAt === undefined ? undefined : this.#options.clock.now() - lease.renewedAt;
      parts.push({
        name: 'lease',
        state:
          age !== undefined && age < LEASE_LATE_MS
            ? 'ok'
            : age === undefined && !lease.lastError
              ? 'waiting'
              : 'failed',
        summary: age === undefined ? 'never renewed' : `renewed ${duration(age)} ago`,
        ...(lease.lastError ? { lastError: lease.lastError } : {}),
      });
    }
    return parts;
  }

  #networkPart(): PartStatus[] {
    const status = this.#watched.flannel?.status();
    if (status === undefined) return [];
    const { backend, subnets, publicIp, iface, mtu, peers, netfilter, waiting, lastError } = status;
    return [
      {
        name: 'network',
        state: lastError ? 'failed' : waiting ? 'waiting' : 'ok',
        summary: waiting ? `waiting for ${waiting}` : `${backend}, ${subnets.join(', ')}, ${peers} peers`,
        details: [
          ...(iface ? [`${iface} ${Object.values(publicIp).join(', ')}, mtu ${mtu ?? 'unknown'}`] : []),
          ...(netfilter ? [`rules in ${netfilter}`] : []),
        ],
        ...(lastError ? { lastError } : {}),
      },
    ];
  }

  #podParts(): PartStatus[] {
    const parts: PartStatus[] = [];
    const summary = this.#watched.pods?.status();
    if (summary) {
      const phases = Object.entries(summary.phases).map(([phase, count]) => `${count} ${phase}`);
      const also = [
        summary.ending > 0 && `${summary.ending} ending`,
        summary.orphans > 0 && `${summary.orphans} leftovers being removed`,
        summary.unsent > 0 && `${summary.unsent} statuses not sent yet`,
      ].filter((text) => text !== false);
      const settled = summary.runtimeSeen && summary.sourceSynced;
      parts.push({
        name: 'pods',
        state: settled ? 'ok' : 'waiting',
        summary: settled ? phases.concat(also).join(', ') || 'none' : 'waiting for the list of pods',
      });
    }
    const { server } = this.#watched;
    if (server)
      parts.push({
        name: 'kubelet API',
        state: server.error ? 'failed' : 'ok',
        summary: server.address ? `${server.address.host}:${server.address.port}` : 'not listening',
        ...(server.error ? { lastError: server.error.message } : {}),
        ...(server.error?.remedy ? { remedy: server.error.remedy } : {}),
      });
    return parts;
  }

  #certificatePart(): PartStatus[] {
    const { uplink } = this.#watched;
    if (uplink === undefined) return [];
    const soonest = Math.min(...Object.values(uplink.joined.certificates).map((pair) => pair.notAfter));
    const left = soonest - this.#options.clock.now();
    const failure = uplink.renewer.failure;
    return [
      {
        name: 'certificates',
        state: left <= 0 ? 'failed' : left < CERTIFICATE_SOON_MS && failure ? 'waiting' : 'ok',
        summary: left > 0 ? `valid for ${duration(left)}` : 'expired',
        ...(failure ? { lastError: failure.message } : {}),
        ...(failure?.remedy ? { remedy: failure.remedy } : {}),
      },
    ];
  }
}
