/**
 * The states of the servers behind the local load balancer and what moves them (k3s pkg/agent/loadbalancer/servers.go).
 * Pure: one event and the time in, the new list and the effects out.
 */

/** Best first: new connections try servers in this order, then by fewer connections. */
export const STATES = ['ACTIVE', 'PREFERRED', 'HEALTHY', 'RECOVERING', 'UNCHECKED', 'STANDBY', 'FAILED'] as const;
export type ServerState = (typeof STATES)[number];

export interface ServerEntry {
  /** `host:port` */
  readonly address: string;
  /** The server of `--server`: kept as STANDBY when it is not in the list, so it is never forgotten. */
  readonly isDefault: boolean;
  readonly state: ServerState;
  /** Monotonic milliseconds of the last transition. */
  readonly since: number;
  readonly connections: number;
  /** The last health report; nothing known at first. */
  readonly health: 'ok' | 'failed' | 'unknown';
  readonly lastError: string | undefined;
}

export type ServerEvent =
  /** The cluster's servers as last heard. */
  | { type: 'list'; addresses: readonly string[] }
  /** The default server changed (or was set at the start). */
  | { type: 'default'; address: string }
  /** A TCP connection to the server opened; it counts from now on. */
  | { type: 'dialled'; address: string }
  | { type: 'dial-failed'; address: string; error: string }
  | { type: 'closed'; address: string }
  | { type: 'health'; address: string; ok: boolean; reason: string }
  /** Time passed: see {@link nextCheck}. */
  | { type: 'tick' };

export type ServerEffect =
  | { type: 'close-connections'; address: string; why: string }
  | { type: 'transition'; address: string; from: ServerState | 'NEW'; to: ServerState | 'GONE'; why: string };

export interface Outcome {
  /** Sorted, best first. */
  readonly servers: readonly ServerEntry[];
  readonly effects: readonly ServerEffect[];
}

/** A second good health report is taken for granted when none to the contrary came for so long. */
const CONFIRM_MS = 1_000;
/** PREFERRED without being dialled for so long is merely HEALTHY. */
const PREFERRED_MS = 60_000;

export function transition(servers: readonly ServerEntry[], event: ServerEvent, now: number): Outcome {
  const draft = new Draft(servers, now);
  switch (event.type) {
    case 'list':
      draft.list(event.addresses);
      break;
    case 'default':
      draft.setDefault(event.address);
      break;
    case 'dialled':
      draft.change(event.address, (s) => ({ connections: s.connections + 1, lastError: undefined }));
      draft.succeeded(event.address, 'dial');
      break;
    case 'closed':
      draft.change(event.address, (s) => ({ connections: Math.max(0, s.connections - 1) }));
      break;
    case 'dial-failed':
      draft.change(event.address, () => ({ lastError: event.error }));
      draft.failed(event.address, 'dial', event.error);
      break;
    case 'health':
      draft.change(event.address, (s) => ({
        health: event.ok ? 'ok' : 'failed',
        lastError: event.ok ? s.lastError : event.reason,
      }));
      if (event.ok) draft.succeeded(event.address, 'health');
      else draft.failed(event.address, 'health', event.reason);
      break;
    case 'tick':
      for (const server of servers) if (due(server, now) === 0) draft.succeeded(server.address, 'health');
      break;
    default:
      event satisfies never;
  }
  return draft.outcome();
}

/** Milliseconds until a `tick` changes something; undefined if only other events can. */
export function nextCheck(servers: readonly ServerEntry[], now: number): number | undefined {
  const waits = servers.map((s) => due(s, now)).filter((ms) => ms !== undefined);
  return waits.length === 0 ? undefined : Math.min(...waits);
}

/** Addresses the state file keeps: all but a default that is only standing by. */
export function listedAddresses(servers: readonly ServerEntry[]): string[] {
  return servers.filter((s) => !(s.isDefault && s.state === 'STANDBY')).map((s) => s.address);
}

function due(server: ServerEntry, now: number): number | undefined {
  if (server.health !== 'ok') return undefined;
  const waits: Partial<Record<ServerState, number>> = {
    UNCHECKED: CONFIRM_MS,
    FAILED: CONFIRM_MS,
    RECOVERING: CONFIRM_MS,
    PREFERRED: PREFERRED_MS,
  };
  const wait = waits[server.state];
  return wait === undefined ? undefined : Math.max(0, server.since + wait - now);
}

class Draft {
  readonly #servers: Map<string, ServerEntry>;
  readonly #effects: ServerEffect[] = [];
  readonly #now: number;

  constructor(servers: readonly ServerEntry[], now: number) {
    this.#servers = new Map(servers.map((s) => [s.address, s]));
    this.#now = now;
  }

  outcome(): Outcome {
    const servers = [...this.#servers.values()].sort(
      (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || a.connections - b.connections,
    );
    return { servers, effects: this.#effects };
  }

  change(address: string, fields: (server: ServerEntry) => Partial<ServerEntry>): void {
    const server = this.#servers.get(address);
    if (server) this.#servers.set(address, { ...server, ...fields(server) });
  }

  list(addresses: readonly string[]): void {
    const wanted = new Set(addresses);
    for (const address of wanted) {
      const server = this.#servers.get(address);
      if (server === undefined) this.#add(address, false, 'UNCHECKED', 'is in the list of servers');
      else if (server.state === 'STANDBY') this.#move(address, 'UNCHECKED', 'is in the list of servers');
    }
    for (const server of [...this.#servers.values()]) {
      if (wanted.has(server.address) || server.state === 'STANDBY') continue;
      this.#close(server.address, 'left the list of servers');
      if (server.isDefault) this.#move(server.address, 'STANDBY', 'left the list of servers');
      else this.#remove(server, 'left the list of servers');
    }
  }

  setDefault(address: string): void {
    for (const server of [...this.#servers.values()]) {
      if (!server.isDefault || server.address === address) continue;
      this.change(server.address, () => ({ isDefault: false }));
      if (server.state !== 'STANDBY') continue;
      this.#close(server.address, 'is not the default any more');
      this.#remove(server, 'is not the default any more');
    }
    if (this.#servers.has(address)) this.change(address, () => ({ isDefault: true }));
    else this.#add(address, true, 'STANDBY', 'is the default');
  }

  succeeded(address: string, by: 'dial' | 'health'): void {
    const server = this.#servers.get(address);
    if (server === undefined) return;
    const to = this.#improved(server, by);
    if (to === undefined) return;
    const why = `successful ${by}`;
    this.#move(address, to === 'ACTIVE' ? this.#settleActive(server) : to, why);
  }

  failed(address: string, by: 'dial' | 'health', error: string): void {
    const server = this.#servers.get(address);
    if (server === undefined) return;
    const why = `failed ${by}: ${error}`;
    switch (server.state) {
      case 'UNCHECKED':
      case 'RECOVERING':
        // Its API may answer although its tunnel does not: only a failed dial counts.
        if (by === 'dial') this.#move(address, 'FAILED', why);
        return;
      case 'HEALTHY':
      case 'PREFERRED':
      case 'ACTIVE':
        this.#close(address, why);
        this.#move(address, 'FAILED', why);
        return;
      default:
        return;
    }
  }

  #improved(server: ServerEntry, by: 'dial' | 'health'): ServerState | undefined {
    switch (server.state) {
      case 'FAILED':
      case 'UNCHECKED':
        return 'RECOVERING';
      case 'RECOVERING':
        if (by === 'dial') return undefined;
        return server.connections > 0 ? 'ACTIVE' : 'PREFERRED';
      case 'HEALTHY':
        return by === 'dial' ? 'ACTIVE' : undefined;
      case 'PREFERRED':
        if (by === 'dial') return 'ACTIVE';
        return this.#now - server.since >= PREFERRED_MS ? 'HEALTHY' : undefined;
      default:
        return undefined;
    }
  }

  /** Only one server is ACTIVE: the others' connections are closed, or this one's if the active one serves more. */
  #settleActive(server: ServerEntry): ServerState {
    let to: ServerState = 'ACTIVE';
    for (const other of [...this.#servers.values()]) {
      if (other.address === server.address) continue;
      if (other.state === 'ACTIVE' && other.connections > server.connections) {
        to = 'PREFERRED';
        this.#close(server.address, `${other.address} serves more`);
      } else if (other.state === 'ACTIVE') {
        this.#close(other.address, `${server.address} is the active server now`);
        this.#move(other.address, 'PREFERRED', `${server.address} is the active server now`);
      } else if (other.state !== 'PREFERRED' && other.state !== 'UNCHECKED')
        this.#close(other.address, `${server.address} is the active server now`);
    }
    return to;
  }

  #add(address: string, isDefault: boolean, state: ServerState, why: string): void {
    const entry = { address, isDefault, state, since: this.#now, connections: 0 };
    this.#servers.set(address, { ...entry, health: 'unknown', lastError: undefined });
    this.#effects.push({ type: 'transition', address, from: 'NEW', to: state, why });
  }

  #remove(server: ServerEntry, why: string): void {
    this.#servers.delete(server.address);
    this.#effects.push({ type: 'transition', address: server.address, from: server.state, to: 'GONE', why });
  }

  #move(address: string, to: ServerState, why: string): void {
    const server = this.#servers.get(address);
    if (server === undefined || server.state === to) return;
    this.#servers.set(address, { ...server, state: to, since: this.#now });
    this.#effects.push({ type: 'transition', address, from: server.state, to, why });
  }

  #close(address: string, why: string): void {
    if ((this.#servers.get(address)?.connections ?? 0) > 0)
      this.#effects.push({ type: 'close-connections', address, why });
  }
}
