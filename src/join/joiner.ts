import { abortError, createBackoff, describeError, isAbort, sayOnce } from '../core/index.ts';
import { readState } from '../host/index.ts';
import type { CertPair } from './cert-store.ts';
import { diagnose } from './diagnose.ts';
import { connectionFailure, failureTopic, JoinFailure } from './failure.ts';
import { type Joined, joinPass, type PassDemands, type PassOptions, type PassTrace } from './pass.ts';
import { parseServerConfig, type ServerConfig } from './server-config.ts';

/** What a person may want to know while the agent tries. */
export type JoinProgress =
  | { readonly phase: 'trying'; readonly attempt: number }
  | { readonly phase: 'failed'; readonly attempt: number; readonly failure: JoinFailure; readonly retryInMs: number }
  | { readonly phase: 'joined'; readonly attempt: number; readonly joined: Joined };

export interface JoinOptions extends PassOptions {
  /** `http://host:port` through which the load balancer reaches the servers, if it does. */
  readonly proxy?: string;
  readonly onProgress?: (progress: JoinProgress) => void;
}

export interface Join {
  /** Tries until the server lets the node in; rejects only when `signal` fires. */
  run(signal: AbortSignal): Promise<Joined>;
  /** Tries at once instead of at the end of the current pause: an address came up, the clock was set. */
  retry(): void;
}

/** A wall clock that moved this much against the monotonic one was set. */
const CLOCK_JUMP_MS = 5_000;
/** Between two tries, however often {@link Join.retry} is called. */
const MIN_PAUSE_MS = 300;

export function createJoin(options: JoinOptions): Join {
  const { clock, log, random } = options;
  let wake: (() => void) | undefined;
  const backoff = () => createBackoff({ initialMs: 250, maxMs: 4_000, jitter: 0.3, random });
  return {
    async run(signal) {
      const quick = backoff();
      const slow = createBackoff({ initialMs: 2_000, maxMs: 8_000, jitter: 0.3, random });
      const said = sayOnce();
      for (let attempt = 1; ; attempt++) {
        options.onProgress?.({ phase: 'trying', attempt });
        const result = await tryToJoin(options, {}, signal);
        if (!(result instanceof JoinFailure)) {
          log.info('joined the cluster', { node: result.nodeName, server: options.server, tries: attempt });
          const joined = { ...result, serving: servingAtLast(result, signal) };
          options.onProgress?.({ phase: 'joined', attempt, joined });
          return joined;
        }
        const pause = result.refused ? slow.next() : quick.next();
        const retryInMs = Math.max(pause, Math.min(result.retryAfterMs ?? 0, 30_000));
        if (said.changed('failure', failureTopic(result)))
          log.warn('can not join the cluster yet', {
            step: result.step,
            problem: result.message,
            remedy: result.remedy ?? 'none needed',
          });
        options.onProgress?.({ phase: 'failed', attempt, failure: result, retryInMs });
        await rest(retryInMs, result, signal);
      }
    },
    retry: () => wake?.(),
  };

  /** The rest of the way for a serving certificate that did not come with the join. */
  async function servingAtLast(joined: Joined, signal: AbortSignal): Promise<CertPair> {
    const pauses = createBackoff({ initialMs: 1_000, maxMs: 30_000, jitter: 0.3, random });
    let next: Joined | JoinFailure = joined;
    for (;;) {
      try {
        if (next instanceof JoinFailure) throw next;
        return await next.serving;
      } catch (error) {
        if (signal.aborted) throw abortError();
        log.debug('the serving certificate could not be had yet', { problem: describeError(error) });
      }
      await clock.sleep(pauses.next(), signal);
      next = await tryToJoin(options, {}, signal);
    }
  }

  async function rest(ms: number, failure: JoinFailure, signal: AbortSignal): Promise<void> {
    const pause = new AbortController();
    const from = clock.monotonic();
    // Events come in swarms when a device comes up, and a server that said no does not change its mind for them.
    wake = () => {
      if (!failure.refused) clock.after(Math.max(0, from + MIN_PAUSE_MS - clock.monotonic()), () => pause.abort());
      wake = undefined;
    };
    const both = AbortSignal.any([signal, pause.signal]);
    const offset = clock.now() - clock.monotonic();
    const until = clock.monotonic() + ms;
    try {
      while (clock.monotonic() < until) {
        // No event tells that the wall clock was set; while everything hangs on it, look twice a second.
        const left = until - clock.monotonic();
        await clock.sleep(failure.step === 'tls-clock' ? Math.min(left, 500) : left, both);
        if (Math.abs(clock.now() - clock.monotonic() - offset) > CLOCK_JUMP_MS) return;
      }
    } catch (error) {
      if (signal.aborted || !isAbort(error)) throw error;
    } finally {
      wake = undefined;
    }
  }
}

/** One pass; a failure whose cause is not plain is looked into. Rejects only when `signal` fires. */
export async function tryToJoin(
  options: JoinOptions,
  demands: PassDemands,
  signal: AbortSignal,
): Promise<Joined | JoinFailure> {
  const trace: PassTrace = {};
  try {
    return await joinPass(options, demands, trace, signal);
  } catch (error) {
    if (signal.aborted) throw abortError();
    const failure = connectionFailure(error, options.server);
    if (failure.certain) return failure;
    const trust = trace.anchor?.trust;
    const found = await diagnose({
      server: options.server,
      checkName: isSamePlace(options.dialUrl, options.server),
      clock: options.clock,
      signal,
      ...(trust ? { trust } : {}),
      ...(options.proxy ? { proxy: options.proxy } : {}),
    }).catch((e) => {
      if (signal.aborted) throw e;
      return undefined;
    });
    return found ?? failure;
  }
}

function isSamePlace(a: string, b: string): boolean {
  return new URL(a).host === new URL(b).host;
}

/** The server's configuration as of the last join, for a start while no server answers; undefined before the first. */
export async function lastServerConfig(options: Pick<PassOptions, 'paths'>): Promise<ServerConfig | undefined> {
  const raw = await readState<unknown>(options.paths.lastConfig);
  if (raw === undefined) return undefined;
  try {
    return parseServerConfig(raw);
  } catch {
    return undefined;
  }
}
