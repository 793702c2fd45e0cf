import { type FSWatcher, watch } from 'node:fs';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Clock, Coalescer, describeError, errorCode, type Logger, sayOnce } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { PodChange, PodSource } from '../pods/source.ts';
import { looksStatic, ManifestFault, staticPod } from './manifest.ts';

export interface StaticPodOptions {
  /** A folder of manifests, or one manifest. */
  path: string;
  nodeName: string;
  /** The documents of a YAML or JSON text; throws an Error that says what is wrong with it. */
  parse(text: string): Promise<readonly unknown[]>;
  clock: Clock;
  log: Logger;
}

interface Manifest {
  text: string;
  /** The last good content's pod; undefined while there never was one. */
  pod: Pod | undefined;
  /** Why the present content can't be used. */
  fault: string | undefined;
}

const MAX_BYTES = 10 * 2 ** 20;
/** An editor writes a file in several steps; one look after the last of them. */
const SETTLE_MS = 100;
/** Where no event tells of a change (the path is not there, or is a link), it is looked at as often as the original does. */
const RECHECK_MS = 20_000;

/**
 * Pods from files on this host. A changed file is another pod; a file that can't be used (any more) is complained of
 * once, and the pod of its last good content goes on until the file is mended or removed.
 */
export class StaticPodSource implements PodSource {
  readonly #options: StaticPodOptions;
  readonly #files = new Map<string, Manifest>();
  /** By uid: what subscribers know. */
  readonly #pods = new Map<string, Pod>();
  readonly #handlers = new Set<(change: PodChange) => void>();
  readonly #once = sayOnce();
  readonly #look: Coalescer;
  readonly #abort = new AbortController();
  #watchers: FSWatcher[] = [];
  #cancelLook: (() => void) | undefined;
  #cancelRecheck: (() => void) | undefined;
  #synced = false;
  #resolveSynced: () => void = () => {};
  readonly #whenSynced = new Promise<void>((resolve) => {
    this.#resolveSynced = resolve;
  });

  constructor(options: StaticPodOptions) {
    this.#options = { ...options, path: options.path.replace(/(?<=.)\/+$/, '') };
    this.#look = new Coalescer(() => this.#list());
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#look.poke();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#cancelLook?.();
    this.#cancelRecheck?.();
    this.#unwatch();
  }

  get synced(): boolean {
    return this.#synced;
  }

  whenSynced(): Promise<void> {
    return this.#whenSynced;
  }

  /** Files that can't be used, and why. */
  get faults(): readonly string[] {
    return [...this.#files].flatMap(([path, { fault }]) => (fault === undefined ? [] : [`${path}: ${fault}`]));
  }

  /** While a file can't be read, what runs of a static pod that nobody knows may be that file's. */
  spares({ uid }: { uid: string }): boolean {
    return looksStatic(uid) && this.faults.length > 0;
  }

  subscribe(handler: (change: PodChange) => void): () => void {
    this.#handlers.add(handler);
    for (const pod of this.#pods.values()) handler({ type: 'set', pod });
    return () => this.#handlers.delete(handler);
  }

  #soon(): void {
    this.#cancelLook?.();
    this.#cancelLook = this.#options.clock.after(SETTLE_MS, () => this.#look.poke());
  }

  async #list(): Promise<void> {
    const { path, clock, log } = this.#options;
    if (this.#abort.signal.aborted) return;
    this.#cancelRecheck?.();
    // First the watches, then the look: what happens between them is seen by one of both.
    const watched = this.#watch(path);
    const found = await manifestsAt(path).catch((error: unknown) => {
      if (this.#once.changed(path, describeError(error)))
        log.error('static pods: the path can not be read; their pods go on', { path, error: describeError(error) });
      return undefined;
    });
    if (found !== undefined) {
      this.#once.clear(path);
      for (const file of found.files) await this.#read(file);
      for (const file of this.#files.keys()) if (!found.files.includes(file)) this.#files.delete(file);
      this.#tell();
    }
    if (!watched || found === undefined || found.links)
      this.#cancelRecheck = clock.after(RECHECK_MS, () => this.#look.poke());
    if (found !== undefined && !this.#synced) {
      this.#synced = true;
      this.#resolveSynced();
    }
  }

  async #read(path: string): Promise<void> {
    const before = this.#files.get(path);
    let text = '';
    let fault: string | undefined;
    try {
      text = await readManifest(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') {
        this.#files.delete(path);
        return;
      }
      fault = error instanceof ManifestFault ? error.message : `it can't be read (${errorCode(error) ?? 'error'})`;
    }
    if (before !== undefined && fault === undefined && before.text === text) return;
    let pod: Pod | undefined;
    try {
      if (fault === undefined) pod = await this.#parse(path, text);
    } catch (error) {
      fault = describeError(error);
    }
    this.#files.set(path, { text, pod: pod ?? before?.pod, fault });
    if (fault === undefined) this.#once.clear(path);
    else if (this.#once.changed(path, fault))
      this.#options.log.error('static pods: a manifest can not be used', {
        path,
        error: fault,
        consequence: before?.pod ? 'the pod of its last good content goes on' : 'there is no pod of it',
      });
  }

  async #parse(path: string, text: string): Promise<Pod> {
    const { nodeName, clock, log, parse } = this.#options;
    const documents = await parse(text);
    if (documents.length > 1)
      log.warn('static pods: only the first document of a manifest is used', { path, documents: documents.length });
    return staticPod(documents[0], { path, nodeName, seenAt: clock.now() });
  }

  /** Of two files with a pod of one name the first by path has it. */
  #tell(): void {
    const wanted = new Map<string, Pod>();
    const names = new Map<string, string>();
    for (const [path, { pod }] of [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (pod === undefined) continue;
      const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
      const first = names.get(name);
      if (first === undefined) {
        names.set(name, path);
        wanted.set(pod.metadata.uid as string, pod);
      } else if (this.#once.changed(`twice ${path}`, first))
        this.#options.log.error('static pods: two manifests name the same pod; the first has it', {
          pod: name,
          first,
          path,
        });
    }
    for (const [uid, pod] of this.#pods)
      if (!wanted.has(uid)) {
        this.#pods.delete(uid);
        this.#send({ type: 'removed', pod });
      }
    for (const [uid, pod] of wanted)
      if (!this.#pods.has(uid)) {
        this.#pods.set(uid, pod);
        this.#send({ type: 'set', pod });
      }
  }

  #send(change: PodChange): void {
    for (const handler of this.#handlers) handler(change);
  }

  /** Watches the path itself (a folder) and its entry in the folder above; true if both, or all that is needed, work. */
  #watch(path: string): boolean {
    this.#unwatch();
    const isWatched = this.#add(path, () => true);
    // The path may be replaced by another one of its name, or is a file that an editor replaces.
    const above = this.#add(dirname(path), (name) => name === null || name === basename(path));
    return isWatched && above;
  }

  #add(path: string, concerns: (name: string | null) => boolean): boolean {
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => {
        if (concerns(name)) this.#soon();
      });
      watcher.on('error', () => this.#soon());
      this.#watchers.push(watcher);
      return true;
    } catch {
      return false;
    }
  }

  #unwatch(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }
}

/** The manifests at a path: files of the folder that do not begin with a dot, or the one file. Nothing there: none. */
async function manifestsAt(path: string): Promise<{ files: string[]; links: boolean }> {
  try {
    const own = await stat(path);
    if (own.isFile()) return { files: [path], links: (await lstat(path)).isSymbolicLink() };
    const entries = (await readdir(path, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'));
    const files: string[] = [];
    for (const entry of entries) {
      const file = join(path, entry.name);
      const isFile = entry.isSymbolicLink()
        ? (await stat(file).catch(() => undefined))?.isFile() === true
        : entry.isFile();
      if (isFile) files.push(file);
    }
    return { files: files.sort(), links: entries.some((entry) => entry.isSymbolicLink()) };
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return { files: [], links: true };
  }
}

async function readManifest(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > MAX_BYTES) throw new ManifestFault('it is larger than 10 MiB');
  return await readFile(path, 'utf8');
}
