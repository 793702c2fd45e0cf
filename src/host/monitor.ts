import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Clock, type Component, createBackoff, describeError, type Logger, sayOnce } from '../core/index.ts';

/** One change in the kernel's network state. `resync`: events may have been missed, read everything again. */
export interface NetEvent {
  kind: 'link' | 'address' | 'route' | 'resync';
  deleted: boolean;
  /** Interface name; absent for resync and for routes without one. */
  dev?: string;
  /** Address with prefix (`address`), destination (`route`; the default route is `default`). */
  subject?: string;
}

export interface NetMonitorOptions {
  log: Logger;
  clock: Clock;
  /** Turns an argv into the one really started; a namespace for tests. */
  wrap?: (argv: readonly string[]) => readonly string[];
  /** Milliseconds in which events are gathered before they are handed on. */
  gatherMs?: number;
}

const ARGV = ['ip', '-o', 'monitor', 'label', 'link', 'address', 'route'] as const;
/** Enough for every address and route of a board; older texts only cost a needless look when repeated. */
const MAX_REMEMBERED = 512;

/**
 * The kernel's link, address and route changes, from ONE long-lived `ip monitor` (text, because its JSON mode does not
 * close its arrays in some iproute2 releases). Repeated announcements of an unchanged fact, such as each router
 * advertisement makes, are dropped. The child dies with the agent and is restarted with a growing pause when it ends;
 * subscribers then get a `resync`.
 */
export class NetMonitor implements Component {
  readonly #options: NetMonitorOptions;
  readonly #handlers = new Set<(events: readonly NetEvent[]) => void>();
  readonly #abort = new AbortController();
  readonly #seen = new Map<string, string>();
  #pending: NetEvent[] = [];
  #cancelFlush: (() => void) | undefined;
  #loop: Promise<void> | undefined;
  lastError: string | undefined;

  constructor(options: NetMonitorOptions) {
    this.#options = options;
  }

  async start(signal: AbortSignal): Promise<void> {
    this.#loop ??= this.#run(AbortSignal.any([signal, this.#abort.signal]));
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelFlush?.();
    await this.#loop;
  }

  /** Calls `handler` with each gathered group of changes; returns the unsubscriber. */
  subscribe(handler: (events: readonly NetEvent[]) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#options;
    const backoff = createBackoff({ initialMs: 200, maxMs: 10_000 });
    const once = sayOnce();
    let tied = true;
    while (!signal.aborted) {
      const started = clock.monotonic();
      // Nothing says when the child listens; what happened before it did is caught by this one look.
      const cancel = clock.after(1_000, () => this.#push({ kind: 'resync', deleted: false }));
      const why = await this.#child(tied, signal);
      cancel();
      if (signal.aborted) return;
      if (tied && clock.monotonic() - started < 1_000 && /setpriv|pdeathsig|unrecognized/.test(why)) {
        tied = false; // an old setpriv or none: without it the child ends at its first event after the agent is gone
        continue;
      }
      if (clock.monotonic() - started > 60_000) backoff.reset();
      this.lastError = why;
      if (once.changed('ended', why)) log.warn('ip monitor ended and is started again', { error: why });
      this.#seen.clear();
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  }

  #child(tied: boolean, signal: AbortSignal): Promise<string> {
    const { wrap = (argv: readonly string[]) => argv } = this.#options;
    const [file = '', ...args] = [...(tied ? ['setpriv', '--pdeathsig', 'KILL'] : []), ...wrap(ARGV)];
    return new Promise((resolve) => {
      const child: ChildProcess = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      const end = () => child.kill('SIGKILL');
      signal.addEventListener('abort', end, { once: true });
      const settle = (why: string) => {
        signal.removeEventListener('abort', end);
        resolve(why);
      };
      let said = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        if (said.length < 2_000) said += chunk.toString();
      });
      if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => this.#line(line));
      child.on('error', (error) => settle(`${file}: ${describeError(error)}`));
      child.on('close', (code, killedBy) => settle(said.trim().slice(0, 300) || `${killedBy ?? `exit ${code}`}`));
    });
  }

  #line(line: string): void {
    const parsed = parseMonitorLine(line);
    if (parsed === undefined) return;
    const { event, key, fact } = parsed;
    if (event.deleted) {
      this.#seen.delete(key);
      if (event.kind === 'link')
        for (const k of [...this.#seen.keys()]) if (k.includes(` ${event.dev} `)) this.#seen.delete(k);
    } else {
      if (this.#seen.get(key) === fact) return;
      this.#seen.delete(key);
      this.#seen.set(key, fact);
      if (this.#seen.size > MAX_REMEMBERED) this.#seen.delete(this.#seen.keys().next().value as string);
    }
    this.#push(event);
  }

  #push(event: NetEvent): void {
    const { clock, gatherMs = 100 } = this.#options;
    if (this.#pending.length < 1_000) this.#pending.push(event);
    else this.#pending = [{ kind: 'resync', deleted: false }];
    this.#cancelFlush ??= clock.after(gatherMs, () => {
      this.#cancelFlush = undefined;
      const events = this.#pending;
      this.#pending = [];
      for (const handler of this.#handlers) {
        try {
          handler(events);
        } catch (error) {
          this.#options.log.error('a handler of network events failed', { error: describeError(error) });
        }
      }
    });
  }
}

/**
 * Reads one labelled line of `ip -o monitor label`. `key` names the fact, `fact` is its text without lifetimes, which
 * count down and mean no change. Undefined for lines that are no event and for routes outside the main table.
 */
export function parseMonitorLine(line: string): { event: NetEvent; key: string; fact: string } | undefined {
  const m = /^\[(LINK|ADDR|ROUTE)\](Deleted )?(.*)$/.exec(line);
  if (!m) return undefined;
  const deleted = m[2] !== undefined;
  const body = m[3] as string;
  const fact = body
    .replace(/\\\s*valid_lft.*$/, '')
    .replace(/ expires -?\d+sec/, '')
    .trim();
  if (m[1] === 'LINK') {
    const dev = /^\d+: ([^:@\s]+)/.exec(body)?.[1];
    return dev === undefined ? undefined : { event: { kind: 'link', deleted, dev }, key: `L ${dev} `, fact };
  }
  if (m[1] === 'ADDR') {
    const parts = /^\d+: (\S+)\s+inet6? (\S+)/.exec(body);
    if (!parts) return undefined;
    const [, dev = '', subject = ''] = parts;
    return { event: { kind: 'address', deleted, dev, subject }, key: `A ${dev} ${subject}`, fact };
  }
  if (/ table (local|\d+)/.test(body) || /^(local|broadcast|multicast|anycast) /.test(body)) return undefined;
  const subject = body.replace(/^(unicast|blackhole|unreachable|prohibit) /, '').split(' ')[0] as string;
  const dev = / dev (\S+)/.exec(body)?.[1];
  return {
    event: { kind: 'route', deleted, subject, ...(dev === undefined ? {} : { dev }) },
    key: `R ${dev ?? ''} ${subject} ${/ metric (\d+)/.exec(body)?.[1] ?? ''}`,
    fact,
  };
}
