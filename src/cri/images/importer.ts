import { stat } from 'node:fs/promises';
import {
  AgentError,
  type Clock,
  Coalescer,
  type Component,
  createBackoff,
  describeError,
  errorCode,
  type Logger,
  silentLogger,
  systemClock,
} from '../../core/index.ts';
import type { AuthConfig, ImageService } from '../types.ts';
import { kindOf } from './archive-file.ts';
import { importArchive } from './ctr-import.ts';
import { type ImageFile, scanFolder, watchTree } from './folder.ts';
import { fileImage, fixPins } from './pins.ts';
import { pullList } from './pull-list.ts';
import { type FileRecord, type RecordFiles, type Records, readRecords, unchanged, writeRecords } from './records.ts';
import type { ImageStore, StoredImage } from './store.ts';

export interface ImporterOptions {
  /** `DD/agent/images`; it need not exist. */
  folder: string;
  records: RecordFiles;
  store: ImageStore;
  images: Pick<ImageService, 'imageStatus' | 'pullImage'>;
  /** Undefined: there is no ctr, and archives can't be imported. */
  ctr: () => string | undefined;
  socket: string;
  namespace: string;
  containerdMajor: () => number;
  authFor: (image: string) => AuthConfig[];
  /** `--airgap-extra-registry` */
  extraRegistries: readonly string[];
  log?: Logger;
  clock?: Clock;
  /** How long nothing may have changed before a file is taken, ms; 2,000 when left out. */
  quietMs?: number;
}

export interface ImageImporter extends Component {
  /** Resolves when every file found at the start was dealt with (imported, found present, or failed). Never rejects. */
  readonly imagesReady: Promise<void>;
  /** True while files are being worked on: an image that is missing may be about to come. */
  busy(): boolean;
  /** Path → why it can't be imported. */
  failures(): ReadonlyMap<string, string>;
}

/**
 * Images from `DD/agent/images` (reference: k3s pkg/agent/containerd/{containerd,watcher}.go): archives are imported, the
 * images of .txt lists pulled, all of them pinned against garbage collection, one file at a time and beside everything
 * else. A file is left alone if it has not changed and what it brought is still there with the same digests; so a power
 * cut in the middle costs one more import, and a second start costs none.
 */
export function createImporter(options: ImporterOptions): ImageImporter {
  const { store, extraRegistries, records: recordsAt, quietMs = 2_000 } = options;
  const log = options.log ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const stopping = new AbortController();
  const failures = new Map<string, string>();
  const backoff = createBackoff({ initialMs: 10_000, maxMs: 300_000 });
  let signal = stopping.signal;
  let records: Records | undefined;
  let watcher: ReturnType<typeof watchTree> | undefined;
  let busy = true;
  let unpinned = false;
  let cancelRetry = () => {};
  let cancelSoon = () => {};
  let ready = () => {};
  const imagesReady = new Promise<void>((resolve) => {
    ready = resolve;
  });

  const round = async () => {
    busy = true;
    try {
      let { files, folders } = await scanFolder(options.folder);
      while (watcher?.follow(folders)) ({ files, folders } = await scanFolder(options.folder));
      records ??= await readRecords(recordsAt);
      if (files.length > 0 || records.size > 0 || !unpinned) await settle(files, records);
    } catch (error) {
      if (signal.aborted) return;
      if (errorCode(error) === 'CRI_UNIMPLEMENTED') {
        log.warn('The images folder is left alone, since this runtime is not containerd');
        return;
      }
      log.warn('The images folder can not be worked on right now', { error: describeError(error) });
      retryLater();
    } finally {
      busy = false;
      if (!signal.aborted) ready();
    }
  };

  const settle = async (files: readonly ImageFile[], known: Records) => {
    const present = new Map((await store.list([], signal)).map((image) => [image.name, image]));
    let again = false;
    for (const file of files) {
      const record = known.get(file.path);
      if (record && unchanged(record, file) && (await allThere(record, present))) {
        failures.delete(file.path);
        continue;
      }
      // After the first round files come by being copied: one touched just now may not be whole.
      const age = clock.now() - file.mtimeMs;
      if (unpinned && age >= 0 && age < quietMs) {
        cancelSoon();
        cancelSoon = clock.after(quietMs, () => rounds.poke());
        continue;
      }
      // An archive that failed is not tried again before it changes: a broken file stays broken.
      if (failures.has(failureKey(file))) continue;
      try {
        const images = await bringIn(file);
        known.set(file.path, { size: file.size, mtimeMs: file.mtimeMs, images });
        await writeRecords(recordsAt, known);
        forgetFailures(file.path);
        // It may have been written to meanwhile.
        const after = await stat(file.path).catch(() => undefined);
        again ||= after !== undefined && (after.size !== file.size || after.mtimeMs !== file.mtimeMs);
      } catch (error) {
        if (signal.aborted) throw error;
        if (isPassing(error)) throw error;
        forgetFailures(file.path);
        const list = kindOf(file.path) === 'list';
        if (list) retryLater();
        else failures.set(failureKey(file), describeError(error));
        log.error('A file of the images folder can not be imported', {
          file: file.path,
          error: describeError(error),
          ...(error instanceof AgentError && error.remedy ? { remedy: error.remedy } : {}),
        });
      }
    }
    const paths = new Set(files.map((file) => file.path));
    const before = known.size;
    for (const path of [...known.keys()]) if (!paths.has(path)) known.delete(path);
    if (known.size !== before) await writeRecords(recordsAt, known);
    if (!unpinned) await fixPins(known, { store, extraRegistries, signal });
    unpinned = true;
    if (again) rounds.poke();
    else if (failures.size === 0) backoff.reset();
  };

  const allThere = async (record: FileRecord, present: ReadonlyMap<string, StoredImage>) => {
    for (const [name, digest] of Object.entries(record.images)) {
      const image = present.get(name);
      if (!image || (digest !== '' && image.target.digest !== digest)) return false;
      if (!(await store.hasContent(image.target.digest, signal))) return false;
    }
    return true;
  };

  /** Image names → digests. */
  const bringIn = async (file: ImageFile): Promise<Record<string, string>> => {
    const since = clock.monotonic();
    const kind = kindOf(file.path);
    const names =
      kind === 'list'
        ? await pullList(file.path, { images: options.images, authFor: options.authFor, signal })
        : await importOne(file, kind ?? 'tar');
    const found = (await store.list([], signal)).filter((image) => names.includes(image.name));
    for (const image of found) await fileImage(image, { store, extraRegistries, signal });
    log.info('Images were imported', {
      file: file.path,
      images: found.length,
      seconds: Math.round((clock.monotonic() - since) / 100) / 10,
    });
    if (found.length === 0) log.warn('The file names no image', { file: file.path });
    return Object.fromEntries(found.map((image) => [image.name, image.target.digest]));
  };

  const importOne = (file: ImageFile, kind: Exclude<ReturnType<typeof kindOf>, 'list' | undefined>) => {
    const ctr = options.ctr();
    if (ctr === undefined)
      throw new AgentError({
        code: 'CTR_MISSING',
        message: `${file.path} needs the program ctr, which is not installed`,
        remedy: "install it beside containerd (Debian's package containerd holds it)",
      });
    const { socket, namespace } = options;
    return importArchive({
      path: file.path,
      kind,
      ctr,
      socket,
      namespace,
      containerdMajor: options.containerdMajor(),
      signal,
    });
  };

  const forgetFailures = (path: string) => {
    for (const key of [...failures.keys()]) if (key.startsWith(`${path}\0`)) failures.delete(key);
  };
  const retryLater = () => {
    cancelRetry();
    if (!signal.aborted) cancelRetry = clock.after(backoff.next(), () => rounds.poke());
  };
  const rounds = new Coalescer(round);

  return {
    imagesReady,
    busy: () => busy,
    failures: () => new Map([...failures].map(([key, why]) => [key.slice(0, key.indexOf('\0')), why])),
    async start(outer) {
      signal = AbortSignal.any([outer, stopping.signal]);
      watcher = watchTree(options.folder, () => rounds.poke(), quietMs, clock);
      rounds.poke();
    },
    async stop() {
      stopping.abort();
      ready();
      watcher?.close();
      cancelRetry();
      cancelSoon();
      await rounds.idle();
    },
  };
}

/** A failure belongs to the file as it was. */
function failureKey(file: ImageFile): string {
  return `${file.path}\0${file.size}:${file.mtimeMs}`;
}

/** The runtime is away: nothing is wrong with the file. */
function isPassing(error: unknown): boolean {
  return error instanceof AgentError && error.code === 'CRI_UNAVAILABLE';
}
