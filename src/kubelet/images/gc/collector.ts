import {
  AgentError,
  type Clock,
  type Component,
  describeError,
  errorCode,
  isAbort,
  type Logger,
  orAbort,
} from '../../../core/index.ts';
import type { CriImage, ImageService, RuntimeEvents, RuntimeService } from '../../../cri/types.ts';
import type { FilesystemUse } from '../../../hardware/index.ts';
import type { NodeEvent } from '../../node/node-events.ts';
import { type Candidate, candidates, type ImageRecords, imagesInUse, noteImages } from './records.ts';

/** KubeletConfiguration's imageGC… fields; percents of the file system that are used, durations in milliseconds. */
export interface ImagePolicy {
  /** Used that much: unused images go. 100: never. 85 when left out. */
  highPercent?: number;
  /** They go until only that much is used. 80 when left out. */
  lowPercent?: number;
  /** Images that came later than that ago stay. Two minutes when left out. */
  minAgeMs?: number;
  /** Images not used for longer than that go even if there is space; 0 (when left out): they do not. */
  maxAgeMs?: number;
}

export interface ImageCollectorOptions {
  policy?: ImagePolicy;
  images: Pick<ImageService, 'listImages' | 'removeImage'>;
  runtime: Pick<RuntimeService, 'listContainers'>;
  events: RuntimeEvents;
  /** The file system the images lie on; undefined if it can't be read. */
  filesystem(): Promise<FilesystemUse | undefined>;
  /** Images that are not to go though no container uses them: those pods wait for, the pause image. Names or ids. */
  wanted(): Iterable<string>;
  /** Names of pinned images, for runtimes whose CRI does not tell (containerd 1.6). */
  pinned?(signal: AbortSignal): Promise<readonly string[]>;
  /** Records an event on the Node. */
  event(event: NodeEvent): void;
  /** What fills the file system, as sentences for an event. Asked for only when nothing more can be freed. */
  whatFills?(images: readonly CriImage[], used: ReadonlySet<string>): Promise<string>;
  /** How long after the runtime is known the first look is; a minute when left out. */
  patienceMs?: number;
  clock: Clock;
  log: Logger;
}

const DEFAULTS: Required<ImagePolicy> = { highPercent: 85, lowPercent: 80, minAgeMs: 120_000, maxAgeMs: 0 };
/** ImageGCPeriod of the kubelet; the runtime's regular resync is what calls. */
const PERIOD_MS = 5 * 60_000;
/** After images came: several events a pull. */
const SOON_MS = 10_000;
/** While the board starts, pods come first. */
const PATIENCE_MS = 60_000;
/** Some file systems free space a moment after the files are gone. */
const FREEING_MS = 2_000;
/** Codes are the reasons of the events. */
const FULL = 'FreeDiskSpaceFailed';
const NO_CAPACITY = 'InvalidDiskCapacity';
/** A disk that stays full is told of again after that. */
const REMIND_MS = 30 * 60_000;

/**
 * Removes unused images when the disk fills (kubelet pkg/kubelet/images/image_gc_manager.go): the one not used for
 * longest first, pinned and used ones never. What counts is the space that came free, not the sizes the runtime gives:
 * layers are shared. There is no timer of its own: it looks when the runtime is listed anew, each five minutes, and when
 * images came, which is what fills a disk.
 */
export class ImageCollector implements Component {
  readonly #options: ImageCollectorOptions;
  readonly #policy: Required<ImagePolicy>;
  readonly #abort = new AbortController();
  readonly #records: ImageRecords = new Map();
  readonly #began: number;
  #looked = false;
  #lastRound = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #told = Number.NEGATIVE_INFINITY;
  #cancelSoon: (() => void) | undefined;
  #cancelFirst = () => {};
  #unsubscribe = () => {};
  /** One at a time: two that free would free twice. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
    this.#policy = { ...DEFAULTS, ...options.policy };
    this.#began = options.clock.monotonic();
  }

  async start(signal: AbortSignal): Promise<void> {
    const { clock, events } = this.#options;
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#unsubscribe = events.subscribe((event) => {
      if (event.type === 'images') this.#soon();
      else if (event.type === 'resync' && clock.monotonic() - this.#lastRound >= PERIOD_MS * 0.9) {
        const isFirst = this.#lastRound === Number.NEGATIVE_INFINITY;
        this.#lastRound = clock.monotonic();
        const patience = isFirst ? (this.#options.patienceMs ?? PATIENCE_MS) : 0;
        if (patience > 0) this.#cancelFirst = clock.after(patience, () => void this.collect(true));
        else void this.collect(true);
      }
    });
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#cancelSoon?.();
    this.#cancelFirst();
    this.#abort.abort();
    await this.#work;
  }

  #soon(): void {
    this.#cancelSoon ??= this.#options.clock.after(SOON_MS, () => {
      this.#cancelSoon = undefined;
      void this.collect(false);
    });
  }

  /** One round: too old ones go, and if the disk is too full, as many as it takes. `note`: use is noted in any case. */
  collect(note: boolean): Promise<void> {
    return this.#alone(async (signal) => {
      const { log } = this.#options;
      try {
        await this.#round(note, signal);
        this.#failures = 0;
      } catch (error) {
        if (isAbort(error)) return;
        log.warn('unused images could not be removed', { error: describeError(error) });
        this.#failures++;
        this.#tell(error);
      }
    });
  }

  /**
   * Frees at least so many bytes by removing unused images, all of them if `bytes` is left out, as few as will do else.
   * For eviction. Resolves with the bytes that came free, fewer if there was no more; rejects if the runtime is away.
   */
  freeImages(bytes = Number.POSITIVE_INFINITY, signal?: AbortSignal): Promise<number> {
    const work = this.#alone(async (inner) => {
      const { images, used } = await this.#look(inner);
      return await this.#free(await this.#candidates(images, used, inner), bytes, inner);
    });
    return signal ? orAbort(work, signal) : work;
  }

  #alone<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const run = this.#work.then(() => {
      this.#abort.signal.throwIfAborted();
      return work(this.#abort.signal);
    });
    this.#work = run.catch(() => {});
    return run;
  }

  async #round(note: boolean, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    const full = await this.#overThreshold();
    if (!note && full === undefined) return;
    const { images, used } = await this.#look(signal);
    const { maxAgeMs } = this.#policy;
    // An agent that was just started knows of no use before its start.
    const hasAged = maxAgeMs > 0 && clock.monotonic() - this.#began > maxAgeMs;
    if (full === undefined && !hasAged) return;
    let left = await this.#candidates(images, used, signal);
    if (hasAged) {
      const isOld = ({ record }: Candidate) =>
        clock.monotonic() - Math.max(record.lastUsed, record.firstSeen, this.#began) > maxAgeMs;
      await this.#free(left.filter(isOld), Number.POSITIVE_INFINITY, signal);
      left = left.filter((candidate) => !isOld(candidate));
    }
    if (full === undefined) return;
    log.info('the disk is filling: unused images go', { usedPercent: full.percent, bytes: full.bytes });
    const freed = await this.#free(left, full.bytes, signal);
    if (freed >= full.bytes) return;
    const fills = await this.#options.whatFills?.(images, used).catch(() => '');
    throw new AgentError({
      code: FULL,
      message: `Failed to garbage collect required amount of images. Attempted to free ${full.bytes} bytes, but only found ${freed} bytes eligible to free.${fills ? ` ${fills}` : ''}`,
    });
  }

  async #overThreshold(): Promise<{ percent: number; bytes: number } | undefined> {
    const disk = await this.#options.filesystem();
    if (disk === undefined || disk.total <= 0)
      throw new AgentError({ code: NO_CAPACITY, message: 'invalid capacity 0 on image filesystem' });
    const available = Math.min(disk.available, disk.total);
    const percent = 100 - Math.floor((available * 100) / disk.total);
    const { highPercent, lowPercent } = this.#policy;
    if (highPercent >= 100 || percent < highPercent) return undefined;
    const bytes = Math.floor((disk.total * (100 - lowPercent)) / 100) - available;
    return bytes > 0 ? { percent, bytes } : undefined;
  }

  async #look(signal: AbortSignal): Promise<{ images: CriImage[]; used: Set<string> }> {
    const { images: service, runtime, clock, wanted } = this.#options;
    const [images, containers] = await Promise.all([
      service.listImages(undefined, { signal }),
      runtime.listContainers(undefined, { signal }),
    ]);
    const used = imagesInUse(images, containers, wanted());
    noteImages(this.#records, { images, used, now: clock.monotonic(), first: !this.#looked });
    this.#looked = true;
    return { images, used };
  }

  async #candidates(images: CriImage[], used: ReadonlySet<string>, signal: AbortSignal): Promise<Candidate[]> {
    const pinned = imagesInUse(images, [], (await this.#options.pinned?.(signal)) ?? []);
    return candidates(this.#records, images, new Set([...used, ...pinned]));
  }

  /** Removes candidates in their order until so much is free. */
  async #free(list: readonly Candidate[], bytes: number, signal: AbortSignal): Promise<number> {
    const { images, clock, log } = this.#options;
    const before = await this.#available();
    let freed = 0;
    let failure: unknown;
    for (const { image, record } of list) {
      if (freed >= bytes) break;
      if (clock.monotonic() - record.firstSeen < this.#policy.minAgeMs) continue;
      try {
        await images.removeImage(image.id, { signal });
      } catch (error) {
        signal.throwIfAborted();
        failure ??= error;
        continue;
      }
      this.#records.delete(image.id);
      freed =
        before === undefined ? freed + image.size : await this.#freedSince(before, freed + image.size / 2, signal);
      log.info('an unused image was removed', { image: image.repoTags[0] ?? image.repoDigests[0] ?? image.id, freed });
    }
    if (failure !== undefined && freed < bytes) throw failure;
    return freed;
  }

  async #available(): Promise<number | undefined> {
    return (await this.#options.filesystem())?.available;
  }

  /** Waits a little for about as much as is expected, and takes what is there. */
  async #freedSince(before: number, expected: number, signal: AbortSignal): Promise<number> {
    const { clock } = this.#options;
    const end = clock.monotonic() + FREEING_MS;
    for (;;) {
      const freed = Math.max(0, ((await this.#available()) ?? before) - before);
      if (freed >= expected || clock.monotonic() >= end) return freed;
      await clock.sleep(FREEING_MS / 4, signal);
    }
  }

  #tell(error: unknown): void {
    const { clock, event } = this.#options;
    if (this.#failures > 2 && clock.monotonic() - this.#told < REMIND_MS) return;
    this.#told = clock.monotonic();
    const message = describeError(error);
    const reason = errorCode(error);
    if (reason === FULL || reason === NO_CAPACITY) event({ type: 'Warning', reason, message });
    // Once may be chance, such as the runtime being restarted.
    if (this.#failures > 1) event({ type: 'Warning', reason: 'ImageGCFailed', message });
  }
}
