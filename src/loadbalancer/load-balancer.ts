import { createServer, type Server, type Socket } from 'node:net';
import {
  AgentError,
  type Clock,
  type Component,
  describeError,
  errorCode,
  hostPort,
  isAbort,
  type Logger,
  systemClock,
} from '../core/index.ts';
import { proxyFor } from './proxy-env.ts';
import {
  listedAddresses,
  nextCheck,
  type ServerEntry,
  type ServerEvent,
  type ServerState,
  transition,
} from './servers.ts';
import { readStateFile, writeStateFile } from './state-file.ts';
import { createDial, type Dial } from './upstream.ts';

export interface LoadBalancerOptions {
  /** For logs: `supervisor` or `apiserver`. */
  name: string;
  /** `--server`: `https://host[:port]`. */
  serverUrl: string;
  /** 6444, for the apiserver's 6443; 0 picks a free one. */
  listenPort: number;
  /** The first node address is IPv6: `localUrl` names ::1, and that must be free. */
  ipv6?: boolean;
  /** Absolute path of k3s' state file. */
  stateFile: string;
  log: Logger;
  clock?: Clock;
  /** For the proxy variables; process.env when left out. */
  env?: Readonly<Record<string, string | undefined>>;
  dial?: Dial;
}

export interface ServerStatus {
  address: string;
  isDefault: boolean;
  state: ServerState;
  connections: number;
  health: 'ok' | 'failed' | 'unknown';
  lastError: string | undefined;
}

interface Upstream {
  address: string;
  socket: Socket;
}

/** Another server is tried beside a silent one after so long; the silent one keeps its 10 s. */
const IMPATIENT_MS = 3_000;

/**
 * The client load balancer: a plain TCP forwarder on the loopback address through which everything on this board talks
 * to the servers. It does not balance: connections go to the best server and move together. Bytes wait only in sockets.
 */
export class LoadBalancer implements Component {
  readonly #options: LoadBalancerOptions;
  readonly #clock: Clock;
  readonly #scheme: string;
  readonly #defaultAddress: string;
  /** By server: upstream socket -> client socket. */
  readonly #pairs = new Map<string, Map<Socket, Socket>>();
  readonly #clients = new Set<Socket>();
  readonly #abort = new AbortController();
  #listeners: Server[] = [];
  #port = 0;
  #servers: readonly ServerEntry[] = [];
  #dial: Dial;
  #cancelCheck: (() => void) | undefined;
  #saving: Promise<void> = Promise.resolve();

  /** Throws `SERVER_URL_INVALID`, `PROXY_INVALID`. */
  constructor(options: LoadBalancerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const url = parseServerUrl(options.serverUrl);
    this.#scheme = url.protocol.replace(':', '');
    this.#defaultAddress = hostPort(
      url.hostname.replace(/^\[|\]$/g, ''),
      Number(url.port) || (this.#scheme === 'http' ? 80 : 443),
    );
    this.#dial = options.dial ?? createDial(proxyFor(url, options.env ?? process.env));
  }

  /** Listens. Throws `LB_PORT_BUSY`. */
  async start(signal: AbortSignal): Promise<void> {
    const { listenPort, ipv6 = false, stateFile, log, name } = this.#options;
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    const [first, second] = ipv6 ? ['::1', '127.0.0.1'] : ['127.0.0.1', '::1'];
    await this.#listen(first as string, listenPort);
    // The other family is a courtesy: it may be switched off, or taken.
    await this.#listen(second as string, this.#port).catch(() => {});
    const local = hostPort(first as string, this.#port);
    if (this.#defaultAddress !== local) this.#feed({ type: 'default', address: this.#defaultAddress });
    const state = await readStateFile(stateFile);
    if (state?.serverUrl === this.#serverUrl()) this.#feed({ type: 'list', addresses: state.addresses });
    else await this.#save();
    log.info('the load balancer runs', { name, listens: local, servers: this.#servers.map((s) => s.address).join() });
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelCheck?.();
    for (const listener of this.#listeners.splice(0)) listener.close();
    for (const client of this.#clients) client.destroy();
    for (const pairs of this.#pairs.values()) for (const upstream of pairs.keys()) upstream.destroy();
    await this.#saving;
  }

  /** `https://127.0.0.1:6444`; valid once started. */
  get localUrl(): string {
    return `${this.#scheme}://${hostPort(this.#options.ipv6 ? '::1' : '127.0.0.1', this.#port)}`;
  }

  /** The cluster's servers, `host:port`; an empty list is ignored. Written to the state file if it changed. */
  setServers(addresses: readonly string[]): void {
    if (addresses.length === 0) return;
    const before = listedAddresses(this.#servers).sort().join();
    this.#feed({ type: 'list', addresses });
    if (listedAddresses(this.#servers).sort().join() !== before) void this.#save();
  }

  /** A server's tunnel opened or ended. A failed server's connections are closed at once. */
  setHealth(address: string, ok: boolean, reason = ''): void {
    this.#feed({ type: 'health', address, ok, reason });
  }

  /**
   * Closes what goes out from an address this board lost: neither end would notice for a quarter of an hour.
   * `has`: the addresses there are now.
   */
  addressesChanged(has: ReadonlySet<string>): void {
    for (const pairs of this.#pairs.values())
      for (const [upstream, client] of [...pairs]) {
        const local = upstream.localAddress?.replace(/^::ffff:/, '');
        if (local === undefined || has.has(local)) continue;
        upstream.destroy();
        client.destroy();
      }
  }

  /** Best first. */
  status(): ServerStatus[] {
    return this.#servers.map(({ since: _, ...status }) => status);
  }

  #serverUrl(): string {
    return `${this.#scheme}://${this.#servers.find((s) => s.isDefault)?.address ?? ''}`;
  }

  async #save(): Promise<void> {
    const state = { serverUrl: this.#serverUrl(), addresses: listedAddresses(this.#servers) };
    const { stateFile, log } = this.#options;
    this.#saving = this.#saving
      .then(() => writeStateFile(stateFile, state))
      .then(
        () => {},
        (error) => log.warn('the list of servers can’t be saved', { path: stateFile, error: describeError(error) }),
      );
    await this.#saving;
  }

  #feed(event: ServerEvent): void {
    const { log, name } = this.#options;
    const { servers, effects } = transition(this.#servers, event, this.#clock.monotonic());
    this.#servers = servers;
    for (const effect of effects)
      if (effect.type === 'transition') {
        const { address, from, to, why } = effect;
        // A server going bad is worth a look; the ordinary rise through the states is not.
        const level = to === 'FAILED' ? 'warn' : to === 'ACTIVE' || to === 'GONE' || from === 'NEW' ? 'info' : 'debug';
        log[level]('a server changed its state', { name, server: address, from, to, why });
      } else this.#closeUpstreams(effect.address, effect.why);
    this.#cancelCheck?.();
    const wait = this.#abort.signal.aborted ? undefined : nextCheck(servers, this.#clock.monotonic());
    this.#cancelCheck =
      wait === undefined ? undefined : this.#clock.after(Math.ceil(wait), () => this.#feed({ type: 'tick' }));
  }

  #closeUpstreams(address: string, why: string): void {
    const pairs = this.#pairs.get(address);
    if (pairs === undefined) return;
    this.#options.log.info('connections to a server are closed', { server: address, count: pairs.size, why });
    for (const [upstream, client] of [...pairs]) {
      upstream.destroy();
      client.destroy();
    }
  }

  #listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
        void this.#serve(client);
      });
      server.once('error', (cause) => reject(listenError(host, port, cause)));
      server.listen({ host, port, ipv6Only: true }, () => {
        server.removeAllListeners('error');
        server.on('error', () => {}); // accept() without descriptors: the next client may fare better
        if (this.#port === 0) this.#port = (server.address() as { port: number }).port;
        this.#listeners.push(server);
        resolve();
      });
    });
  }

  async #serve(client: Socket): Promise<void> {
    this.#clients.add(client);
    const gone = new AbortController();
    client.on('error', () => {});
    client.once('close', () => {
      this.#clients.delete(client);
      gone.abort();
    });
    try {
      const upstream = await this.#connect(AbortSignal.any([this.#abort.signal, gone.signal]));
      this.#splice(client, upstream);
    } catch (error) {
      client.destroy();
      if (!isAbort(error)) this.#options.log.debug('no server took a connection', { error: describeError(error) });
    }
  }

  /** Tries the servers best first; a silent one is left to its own 10 s while the next is tried. */
  async #connect(signal: AbortSignal): Promise<Upstream> {
    const losers = new AbortController();
    const trying = new Set<Promise<void>>();
    const errors: string[] = [];
    let winner: Upstream | undefined;
    const attempt = async (address: string) => {
      try {
        const socket = await this.#dial(address, AbortSignal.any([signal, losers.signal]));
        if (winner === undefined) winner = { address, socket };
        else socket.destroy();
      } catch (error) {
        if (isAbort(error)) return;
        errors.push(describeError(error));
        this.#feed({ type: 'dial-failed', address, error: describeError(error) });
      }
    };
    for (const { address } of this.#servers) {
      const one: Promise<void> = attempt(address).finally(() => trying.delete(one));
      trying.add(one);
      const patience = new AbortController();
      await Promise.race([one, ...trying, this.#clock.sleep(IMPATIENT_MS, patience.signal).catch(() => {})]);
      patience.abort();
      if (winner !== undefined || signal.aborted) break;
    }
    while (winner === undefined && trying.size > 0) await Promise.race(trying);
    losers.abort();
    if (winner !== undefined) return winner;
    throw new AgentError({ code: 'LB_NO_SERVER', message: `all servers failed: ${errors.join('; ')}` });
  }

  #splice(client: Socket, { address, socket: upstream }: Upstream): void {
    if (client.destroyed || !this.#servers.some((s) => s.address === address)) {
      // Left, or removed from the list, while it was dialled.
      upstream.destroy();
      client.destroy();
      return;
    }
    const pairs = this.#pairs.get(address) ?? new Map<Socket, Socket>();
    this.#pairs.set(address, pairs);
    pairs.set(upstream, client);
    upstream.once('close', () => {
      pairs.delete(upstream);
      if (pairs.size === 0 && this.#pairs.get(address) === pairs) this.#pairs.delete(address);
      client.destroySoon(); // what the server sent last may still wait here
      this.#feed({ type: 'closed', address });
    });
    client.once('close', () => upstream.destroySoon());
    client.pipe(upstream);
    upstream.pipe(client);
    // May close connections of others, or this one.
    this.#feed({ type: 'dialled', address });
  }
}

function parseServerUrl(text: string): URL {
  try {
    const url = new URL(text);
    if (url.hostname !== '' && ['http:', 'https:'].includes(url.protocol)) return url;
  } catch {
    // Said below.
  }
  throw new AgentError({
    code: 'SERVER_URL_INVALID',
    message: `the server URL "${text}" is not https://HOST:PORT`,
    remedy: 'give --server (K3S_URL) as https://HOST:6443',
  });
}

function listenError(host: string, port: number, cause: Error): Error {
  if (errorCode(cause) !== 'EADDRINUSE')
    return new AgentError({ code: 'LB_LISTEN', message: `can't listen on ${hostPort(host, port)}`, cause });
  return new AgentError({
    code: 'LB_PORT_BUSY',
    message: `the load balancer's address ${hostPort(host, port)} is in use`,
    remedy:
      'another k3s agent or server probably runs on this host: stop it (systemctl stop k3s-agent k3s), or choose another port with --lb-server-port',
    cause,
  });
}
