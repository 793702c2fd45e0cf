import { networkInterfaces } from 'node:os';
import {
  AgentError,
  abortError,
  type Clock,
  createBackoff,
  describeError,
  isAbort,
  type Logger,
  sameAddress,
  sayOnce,
  splitHostPort,
} from '../core/index.ts';
import type { OpenLocal } from './connections.ts';
import { dialTunnel, type TunnelCredentials } from './dial.ts';
import { Session, type SessionEnd, type SilentSocket } from './session.ts';

/** After a wake-up an open session must show life within this time. */
const PROBE_MS = 8_000;
/** A session is replaced (new certificates) when it is idle, or after so long. */
const REPLACE_WITHIN_MS = 60 * 60_000;
/** A replacement that could not be opened is tried again after this. */
const RENEW_RETRY_MS = 30_000;
/** A silent session's socket is given up after this; no server keeps a session longer without pings. */
const ZOMBIE_MS = 75_000;
const ANSWER_MS = 500;
/** An open session that lives this long starts the backoff over. */
const STEADY_MS = 10_000;

export interface ServerTunnelOptions {
  /** `host:port` of the server's supervisor. */
  server: string;
  /** Asked at each dial, so that renewed certificates are used. */
  credentials: () => TunnelCredentials | Promise<TunnelCredentials>;
  open: OpenLocal;
  /** The tunnel opened (true) or ended (false, with the reason). */
  onHealth: (ok: boolean, reason: string) => void;
  /**
   * Lets the kernel send from an address this board lost, until the returned function is called. Without it, a server
   * of the newer kind uses the session from the lost address for up to a minute more.
   */
  borrowAddress?: (address: string) => Promise<() => Promise<void>>;
  clock: Clock;
  log: Logger;
  random?: () => number;
}

export interface TunnelStatus {
  server: string;
  state: 'open' | 'connecting' | 'waiting';
  /** Milliseconds since the epoch of the last change of state between open and not. */
  since: number;
  /** Connections served right now. */
  connections: number;
  /** Sessions opened since the start. */
  opened: number;
  lastError: string | undefined;
}

/** The endless loop that keeps one tunnel to one server. */
export class ServerTunnel {
  readonly #options: ServerTunnelOptions;
  readonly #abort = new AbortController();
  readonly #once = sayOnce();
  readonly #zombies = new Set<() => Promise<void>>();
  #session: Session | undefined;
  #loop: Promise<void> | undefined;
  #state: TunnelStatus['state'] = 'connecting';
  #since: number;
  #opened = 0;
  #lastError: string | undefined;
  #cutWait: (() => void) | undefined;
  #renewWanted = false;
  #askReplacement: (() => void) | undefined;

  constructor(options: ServerTunnelOptions) {
    this.#options = options;
    this.#since = options.clock.now();
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Ends the tunnel for good; no health is reported for that. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#session?.close('the tunnel is not wanted any more');
    await this.#bury();
    await this.#loop;
  }

  /** Something about the network changed: redial now, or make sure that the open session is alive. */
  wake(): void {
    this.#cutWait?.();
    const session = this.#session;
    if (session?.localAddress !== undefined && !hasAddress(session.localAddress)) session.addressLost();
    else session?.probe(PROBE_MS);
  }

  /** The credentials changed: a new session takes over once the present one is idle. */
  renew(): void {
    this.#renewWanted = true;
    this.#askReplacement?.();
  }

  status(): TunnelStatus {
    return {
      server: this.#options.server,
      state: this.#state,
      since: this.#since,
      connections: this.#session?.connections.size ?? 0,
      opened: this.#opened,
      lastError: this.#lastError,
    };
  }

  async #run(): Promise<void> {
    const { clock, log, server } = this.#options;
    const signal = this.#abort.signal;
    const backoff = createBackoff({
      initialMs: 300,
      maxMs: 5_000,
      jitter: 0.5,
      ...(this.#options.random ? { random: this.#options.random } : {}),
    });
    while (!signal.aborted) {
      this.#state = 'connecting';
      let error: unknown;
      try {
        const session = await this.#dial();
        const began = clock.monotonic();
        this.#turn('open');
        if (this.#lastError !== undefined) log.info('the tunnel is up again', { server });
        else log.info('the tunnel is up', { server });
        this.#lastError = undefined;
        this.#once.clear('error');
        this.#report(true, 'tunnel connected');
        const end = await this.#serve(session);
        // Only a server that drops each new session is to be met with growing pauses.
        if (end.silent !== undefined || clock.monotonic() - began > STEADY_MS) backoff.reset();
        error = end.error;
      } catch (e) {
        error = e;
      }
      if (signal.aborted) return;
      this.#turn('waiting');
      this.#lastError = describeError(error);
      this.#report(false, this.#lastError);
      if (this.#once.changed('error', this.#lastError))
        log.warn('no tunnel to a server, retrying', {
          server,
          error: this.#lastError,
          ...(error instanceof AgentError && error.remedy ? { remedy: error.remedy } : {}),
        });
      await this.#pause(backoff.next());
    }
  }

  /** Serves sessions until one ends by itself; a replacement is opened before the old one is closed. */
  async #serve(first: Session): Promise<SessionEnd> {
    const { clock, log, server } = this.#options;
    let session = first;
    for (;;) {
      this.#session = session;
      if (this.#abort.signal.aborted) session.close('the tunnel is not wanted any more');
      const replace = this.#replacementDue(session);
      const end = await Promise.race([session.ended, replace.due]);
      replace.cancel();
      if (end !== undefined) {
        this.#session = undefined;
        this.#keepZombie(end);
        return end;
      }
      try {
        const next = await this.#dial();
        log.info('the tunnel uses the new certificate', { server });
        session.close('replaced');
        session = next;
      } catch (error) {
        if (isAbort(error) || this.#abort.signal.aborted) return session.ended;
        log.warn('no tunnel with the new certificate yet', { server, error: describeError(error) });
        await Promise.race([session.ended, clock.sleep(RENEW_RETRY_MS, this.#abort.signal).catch(() => {})]);
      }
    }
  }

  #replacementDue(session: Session): { due: Promise<undefined>; cancel(): void } {
    const { clock } = this.#options;
    let cancelTimer: (() => void) | undefined;
    const due = new Promise<undefined>((resolve) => {
      this.#askReplacement = () => {
        const done = () => resolve(undefined);
        cancelTimer ??= clock.after(REPLACE_WITHIN_MS, done);
        session.connections.onIdle = done;
        if (session.connections.size === 0) done();
      };
    });
    if (this.#renewWanted) this.#askReplacement?.();
    return {
      due,
      cancel: () => {
        cancelTimer?.();
        session.connections.onIdle = () => {};
        this.#askReplacement = undefined;
      },
    };
  }

  async #dial(): Promise<Session> {
    const { server, credentials, open, clock, log } = this.#options;
    const target = splitHostPort(server);
    if (target === undefined) throw new AgentError({ code: 'TUNNEL_ADDRESS', message: `"${server}" is not host:port` });
    const current = await credentials();
    const socket = await dialTunnel(target, current, this.#abort.signal);
    this.#renewWanted = false;
    if (this.#abort.signal.aborted) {
      socket.websocket.terminate();
      throw abortError();
    }
    this.#opened++;
    const session = new Session({ target, socket, open, clock, log });
    await this.#bury(); // before anyone asks the server to dial, which it does through the oldest session it has
    return session;
  }

  #keepZombie({ silent }: SessionEnd): void {
    if (silent === undefined) return;
    const bury = () => {
      cancel();
      this.#zombies.delete(bury);
      return this.#reset(silent);
    };
    const cancel = this.#options.clock.after(ZOMBIE_MS, () => void bury());
    this.#zombies.add(bury);
  }

  async #bury(): Promise<void> {
    await Promise.all([...this.#zombies].map((bury) => bury()));
  }

  /** The RST must leave from the address the server knows, which the board may have lost meanwhile. */
  async #reset({ localAddress, reset }: SilentSocket): Promise<void> {
    const { borrowAddress, clock, log } = this.#options;
    if (borrowAddress === undefined || localAddress === undefined || hasAddress(localAddress)) {
      reset();
      return;
    }
    try {
      const giveBack = await borrowAddress(localAddress);
      reset();
      // A server that missed bytes asks back once before it believes the RST.
      clock.after(ANSWER_MS, () => void giveBack());
    } catch (error) {
      reset();
      log.debug('the server can’t be told of the lost address', { address: localAddress, error: describeError(error) });
    }
  }

  /** Whoever fails on the news must not end the tunnel for good. */
  #report(ok: boolean, reason: string): void {
    const { onHealth, log, server } = this.#options;
    try {
      onHealth(ok, reason);
    } catch (error) {
      log.error('the health of a tunnel could not be passed on', { server, error: describeError(error) });
    }
  }

  #turn(state: TunnelStatus['state']): void {
    if ((this.#state === 'open') !== (state === 'open')) this.#since = this.#options.clock.now();
    this.#state = state;
  }

  async #pause(ms: number): Promise<void> {
    const cut = new AbortController();
    this.#cutWait = () => cut.abort();
    await this.#options.clock.sleep(ms, AbortSignal.any([this.#abort.signal, cut.signal])).catch(() => {});
    this.#cutWait = undefined;
  }
}

function hasAddress(address: string): boolean {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.some((a) => sameAddress(a.address, address));
}
