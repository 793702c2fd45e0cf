import { type Component, createBackoff, describeError, isAbort, sayOnce } from '../core/index.ts';
import type { CertPair } from './cert-store.ts';
import { connectionFailure, JoinFailure } from './failure.ts';
import { type JoinOptions, tryToJoin } from './joiner.ts';
import type { Joined, PassDemands } from './pass.ts';
import { CERT_NAMES, type CertName } from './supervisor.ts';

/** What changed in a renewal. `joined` replaces the former one as a whole. */
export interface Renewal {
  readonly joined: Joined;
  /** What `joined.serving` resolved to. */
  readonly serving: CertPair;
  readonly certificates: readonly CertName[];
  /** The CA bundles changed: everything that verifies with them must take the new ones. */
  readonly cas: boolean;
  readonly config: boolean;
}

export interface Renewer extends Component {
  /** Calls `fn` after each change; returns the unsubscriber. */
  onRenewed(fn: (renewal: Renewal) => void): () => void;
  /** Looks now, at most twice a minute: the node's addresses changed, a TLS check failed, a tunnel came back. */
  poke(why: string): void;
  readonly current: Joined;
  /** Why the last look failed; undefined if it did not. */
  readonly failure: JoinFailure | undefined;
}

/** Longest time between two looks at the clock: one without a chip may be set by years at any moment. */
const TICK_MS = 600_000;
/** CA and configuration are compared with the server's this often even if nothing is due. */
const LOOK_MS = 24 * 3_600_000;
/** Between two tries, whatever is asked for. */
const GAP_MS = 30_000;

/**
 * Keeps a joined node's certificates alive while it runs; the original renews only when it is started. A pass like that
 * of joining is made when a certificate has lived two thirds, when it no longer covers the node's addresses or is of
 * another CA, and once a day. Once everything has expired (the board lay in a drawer) the token lets it in again.
 */
export function createRenewer(options: JoinOptions, first: Joined): Renewer {
  const { clock, log, random } = options;
  const listeners = new Set<(renewal: Renewal) => void>();
  const said = sayOnce();
  const stopper = new AbortController();
  let current = first;
  let serving: CertPair;
  let failure: JoinFailure | undefined;
  let wake: (() => void) | undefined;
  let poked: string | undefined;
  let loop: Promise<void> | undefined;

  async function run(signal: AbortSignal): Promise<void> {
    const retry = createBackoff({ initialMs: 15_000, maxMs: 900_000, jitter: 0.3, random });
    // Certificates from disk skipped the password check that the server makes of everyone else. Do it now, off the way.
    let prove = first.reused.includes('client-kubelet');
    let nextLook = clock.monotonic() + (prove ? 0 : LOOK_MS * (0.9 + 0.2 * random()));
    let lastTry = Number.NEGATIVE_INFINITY;
    serving = await first.serving;
    while (!signal.aborted) {
      const now = clock.monotonic();
      const due = dueNames(pairs(current, serving), clock.now());
      const mayTry = failure === undefined || now >= nextLook || poked !== undefined;
      const wants = now >= nextLook || due.length > 0 || poked !== undefined;
      if (wants && mayTry && now - lastTry >= GAP_MS) {
        poked = undefined;
        lastTry = now;
        await current.persisted;
        const demands = { renew: (name: CertName) => due.includes(name), proveIdentity: prove };
        const result = await tryToRenew(demands, signal);
        if (result instanceof JoinFailure) {
          failure = result;
          nextLook = clock.monotonic() + retry.next();
          if (said.changed('failure', `${result.step} ${result.message}`))
            log.warn('the certificates can not be renewed yet', {
              step: result.step,
              problem: result.message,
              remedy: result.remedy ?? 'none needed',
            });
        } else {
          failure = undefined;
          said.clear('failure');
          retry.reset();
          prove = false;
          nextLook = clock.monotonic() + LOOK_MS * (0.9 + 0.2 * random());
          publish(result.joined, result.serving);
        }
        continue;
      }
      const waits = [TICK_MS, nextLook - now];
      if (failure === undefined) waits.push(soonest(pairs(current, serving)) - clock.now());
      if (wants && mayTry) waits.push(lastTry + GAP_MS - now);
      await pause(Math.max(1_000, Math.min(...waits)), signal);
    }
  }

  async function tryToRenew(demands: PassDemands, signal: AbortSignal) {
    const joined = await tryToJoin(options, demands, signal);
    if (joined instanceof JoinFailure) return joined;
    try {
      return { joined, serving: await joined.serving };
    } catch (error) {
      if (signal.aborted) throw error;
      return connectionFailure(error, options.server);
    }
  }

  function publish(joined: Joined, newServing: CertPair): void {
    const before = current;
    const old = pairs(current, serving);
    const now = pairs(joined, newServing);
    current = joined;
    serving = newServing;
    const certificates = CERT_NAMES.filter((name) => old[name].cert !== now[name].cert);
    const cas = before.serverCa !== joined.serverCa || before.clientCa !== joined.clientCa;
    const config = JSON.stringify(before.config) !== JSON.stringify(joined.config);
    if (certificates.length === 0 && !cas && !config) return;
    log.info('renewed what the server gave this node', { certificates: certificates.join(','), cas, config });
    for (const fn of [...listeners])
      try {
        fn({ joined, serving: newServing, certificates, cas, config });
      } catch (error) {
        // Whoever can't use the new ones must not keep the others from them, nor end the renewing.
        log.error('a part of the agent could not take what was renewed', { error: describeError(error) });
      }
  }

  async function pause(ms: number, signal: AbortSignal): Promise<void> {
    const cut = new AbortController();
    wake = () => cut.abort();
    const cancel = clock.after(ms, () => cut.abort());
    const both = AbortSignal.any([signal, cut.signal]);
    await new Promise<void>((resolve) => {
      if (both.aborted) resolve();
      else both.addEventListener('abort', () => resolve(), { once: true });
    });
    cancel();
    wake = undefined;
  }

  return {
    async start(signal) {
      loop ??= run(AbortSignal.any([signal, stopper.signal])).catch((error) => {
        if (!isAbort(error)) log.error('renewing certificates stopped', { error: String(error) });
      });
    },
    async stop() {
      stopper.abort();
      await loop;
    },
    onRenewed(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    poke(why) {
      poked = why;
      wake?.();
    },
    get current() {
      return current;
    },
    get failure() {
      return failure;
    },
  };
}

type Pairs = Readonly<Record<CertName, Pick<CertPair, 'cert' | 'renewAt' | 'notAfter'>>>;

function pairs(joined: Joined, serving: CertPair): Pairs {
  return { ...joined.certificates, 'serving-kubelet': serving };
}

/** Certificates to renew now: once the time of one has come, those that would follow soon go along. */
function dueNames(all: Pairs, now: number): CertName[] {
  if (now < soonest(all)) return [];
  return CERT_NAMES.filter((name) => all[name].renewAt - now < Math.max(0, all[name].notAfter - now) * 0.3);
}

function soonest(all: Pairs): number {
  return Math.min(...CERT_NAMES.map((name) => all[name].renewAt));
}
