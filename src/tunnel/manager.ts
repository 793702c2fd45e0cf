import type { Clock, Component, Logger } from '../core/index.ts';
import type { TunnelCredentials } from './dial.ts';
import { type LocalDialOptions, localDialer } from './local.ts';
import { ServerTunnel, type ServerTunnelOptions, type TunnelStatus } from './server-tunnel.ts';

/** Starting servers come and go in the list several times (k3s endpointDebounceDelay). */
const SETTLE_MS = 3_000;

export interface TunnelManagerOptions extends LocalDialOptions {
  /** `host:port` of the `--server` URL: dialled until a list is known. */
  firstServer: string;
  /** The client-kubelet certificate; asked at each dial. */
  credentials: () => TunnelCredentials | Promise<TunnelCredentials>;
  /** A tunnel opened or ended: the load balancer's health of that server. Not called for servers that left the list. */
  onHealth: (server: string, ok: boolean, reason: string) => void;
  /** A new list has settled, before its tunnels are started and the others cut. */
  onServers: (servers: readonly string[]) => void;
  /** See {@link ServerTunnelOptions.borrowAddress}. */
  borrowAddress?: ServerTunnelOptions['borrowAddress'];
  clock: Clock;
  log: Logger;
}

/** One tunnel to each server of the cluster. */
export class TunnelManager implements Component {
  readonly #options: TunnelManagerOptions;
  readonly #tunnels = new Map<string, ServerTunnel>();
  #wanted: readonly string[];
  #known = false;
  #cancelSettle: (() => void) | undefined;
  #running = false;

  constructor(options: TunnelManagerOptions) {
    this.#options = options;
    this.#wanted = [options.firstServer];
  }

  /** Begins dialling; does not wait for the first tunnel. */
  async start(signal: AbortSignal): Promise<void> {
    this.#running = true;
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#apply();
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#cancelSettle?.();
    this.#cancelSettle = undefined;
    await Promise.all([...this.#tunnels.values()].map((tunnel) => tunnel.stop()));
    this.#tunnels.clear();
  }

  /**
   * The servers' supervisor addresses as last heard. The first list counts at once, changes when nothing followed for
   * 3 s; an empty list is ignored: a cluster without a server would not have answered.
   */
  setServers(servers: readonly string[]): void {
    const list = [...new Set(servers)].sort();
    if (list.length === 0) return;
    this.#cancelSettle?.();
    this.#cancelSettle = undefined;
    const settle = () => {
      this.#cancelSettle = undefined;
      if (this.#known && list.join() === [...this.#wanted].sort().join()) return;
      this.#known = true;
      this.#wanted = list;
      this.#options.onServers(list);
      if (this.#running) this.#apply();
    };
    if (this.#known) this.#cancelSettle = this.#options.clock.after(SETTLE_MS, settle);
    else settle();
  }

  /** The network changed (link up, new address): every tunnel redials now or proves that it is alive. */
  wake(): void {
    for (const tunnel of this.#tunnels.values()) tunnel.wake();
  }

  /** The certificates changed: every tunnel is replaced once it is idle. */
  renew(): void {
    for (const tunnel of this.#tunnels.values()) tunnel.renew();
  }

  status(): TunnelStatus[] {
    return [...this.#tunnels.values()].map((tunnel) => tunnel.status());
  }

  #apply(): void {
    const { credentials, borrowAddress, clock, log, onHealth } = this.#options;
    const open = localDialer(this.#options);
    for (const [server, tunnel] of this.#tunnels) {
      if (this.#wanted.includes(server)) continue;
      this.#tunnels.delete(server);
      log.info('a server left the list, its tunnel is closed', { server });
      void tunnel.stop();
    }
    for (const server of this.#wanted) {
      if (this.#tunnels.has(server)) continue;
      const tunnel: ServerTunnel = new ServerTunnel({
        server,
        credentials,
        open,
        ...(borrowAddress ? { borrowAddress } : {}),
        clock,
        log,
        onHealth: (ok, reason) => {
          if (this.#tunnels.get(server) === tunnel) onHealth(server, ok, reason);
        },
      });
      this.#tunnels.set(server, tunnel);
      tunnel.start();
    }
  }
}
