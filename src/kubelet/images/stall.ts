import { AgentError, type Clock, describeError, isAbort, type Logger } from '../../core/index.ts';

/** A download the runtime has under way. */
export interface Download {
  /** The runtime's name of it, such as `layer-sha256:…`. */
  ref: string;
  /** Bytes that are there; `total` is 0 while nobody knows. */
  offset: number;
  total: number;
}

export interface StallWatch {
  image: string;
  /** What the runtime downloads right now, of this pull or another. */
  downloads(signal: AbortSignal): Promise<readonly Download[]>;
  clock: Clock;
  log: Logger;
  /** Fires when the pull is over. */
  signal: AbortSignal;
}

const LOOK_MS = 10_000;
/** Downloads are open, and no byte came. */
const STALLED_MS = 60_000;
/** Nothing is being downloaded: the registry is asked, or layers are unpacked, which takes its time on a card. */
const SILENT_MS = 15 * 60_000;

/**
 * Rejects once a pull makes no progress any more, with `PULL_STALLED`, or `PULL_STALLED_LATE` if some came before (so
 * that trying again at once goes on where it ended). CRI's PullImage says nothing before it is over, and containerd 1.6
 * waits for ever for a peer that fell silent; newer ones for five minutes. With no other way to tell pulls apart, progress
 * of any counts for all. A runtime that can't say what it downloads is not watched. Rejects with an AbortError when the
 * pull is over.
 */
export async function watchForStall({ image, downloads, clock, log, signal }: StallWatch): Promise<never> {
  let before: string | undefined;
  let since = clock.monotonic();
  let advanced = false;
  for (;;) {
    await clock.sleep(LOOK_MS, signal);
    let open: readonly Download[];
    try {
      open = await downloads(signal);
    } catch (error) {
      if (isAbort(error)) throw error;
      log.debug('the progress of a pull is not known', { image, error: describeError(error) });
      since = clock.monotonic();
      continue;
    }
    const now = fingerprint(open);
    if (now !== before) {
      advanced ||= before !== undefined;
      before = now;
      since = clock.monotonic();
      continue;
    }
    const quiet = clock.monotonic() - since;
    if (quiet < (open.length > 0 ? STALLED_MS : SILENT_MS)) continue;
    const seconds = Math.round(quiet / 1000);
    throw new AgentError({
      code: advanced ? 'PULL_STALLED_LATE' : 'PULL_STALLED',
      message: `failed to pull image "${image}": no progress for ${seconds}s${howFar(open)}, cut off to be tried again`,
      remedy: 'look at the link to the registry',
    });
  }
}

function fingerprint(open: readonly Download[]): string {
  return open
    .map(({ ref, offset }) => `${ref} ${offset}`)
    .sort()
    .join('\n');
}

function howFar(open: readonly Download[]): string {
  const total = open.reduce((sum, one) => sum + one.total, 0);
  if (total === 0) return '';
  const offset = open.reduce((sum, one) => sum + one.offset, 0);
  return ` at ${megabytes(offset)} of ${megabytes(total)} MB`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
