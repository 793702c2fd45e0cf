import { spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { AgentError, abortError, errorCode } from '../../core/index.ts';
import { type FileKind, type OpenArchive, openArchive } from './archive-file.ts';
import { ArchiveNames, readArchiveNames } from './archive-names.ts';

export interface ImportOptions {
  readonly path: string;
  readonly kind: Exclude<FileKind, 'list'>;
  readonly ctr: string;
  readonly socket: string;
  readonly namespace: string;
  readonly containerdMajor: number;
  readonly signal: AbortSignal;
}

/**
 * Imports one archive through `ctr images import`, which comes with containerd and knows every shape of image archive.
 * Layers are not unpacked, as with k3s: that happens when a container needs them, and an archive may hold far more than
 * a board uses. Resolves with the names the archive declares. Throws `IMAGE_IMPORT_FAILED` with ctr's last words, or
 * `CRI_UNAVAILABLE` if containerd was not there to the end.
 */
export async function importArchive(options: ImportOptions): Promise<string[]> {
  const { path, kind, signal } = options;
  if (signal.aborted) throw abortError();
  if (kind === 'tar') {
    const { ended } = startCtr(options, path);
    const failure = await ended;
    if (signal.aborted) throw abortError();
    if (failure !== undefined) throw failed(path, failure);
    return readArchiveNames(path);
  }
  return importStream(options, await openArchive(path, kind));
}

/** What has to be decompressed goes through here on its way, and the names are noted in passing. */
async function importStream(options: ImportOptions, archive: OpenArchive): Promise<string[]> {
  const { path, signal } = options;
  const { child, ended } = startCtr(options, '-');
  const names = new ArchiveNames();
  try {
    const [source, ...transforms] = archive.stages;
    const broken = await pipeline([source, ...transforms, names, child.stdin], { signal }).then(
      () => undefined,
      (error: unknown) => error,
    );
    // A broken archive must not look like a short one that ended well; one that ctr had enough of is still being filed.
    if (broken !== undefined && !isBrokenPipe(broken)) child.kill('SIGKILL');
    const failure = await ended;
    if (signal.aborted) throw abortError();
    // A decompressor that could write no more because ctr had all it wanted has not failed.
    if (failure === undefined && isBrokenPipe(broken)) return names.names();
    await archive.finished;
    if (broken !== undefined && !isBrokenPipe(broken)) throw failed(path, undefined, broken);
    if (failure !== undefined) throw failed(path, failure);
    return names.names();
  } finally {
    archive.close();
  }
}

/** `ended`: undefined when it did its work, else what it said last. */
function startCtr(options: ImportOptions, source: string) {
  const { ctr, socket, namespace, signal } = options;
  // From containerd 2.0 on, ctr by default leaves the work to the daemon's transfer service, which takes other names.
  const flags = options.containerdMajor >= 2 ? ['--local', '--no-unpack'] : ['--no-unpack'];
  const argv = ['-a', socket, '-n', namespace, 'images', 'import', ...flags, source];
  const child = spawn(ctr, argv, { stdio: ['pipe', 'ignore', 'pipe'] });
  child.stdin.on('error', () => {}); // it may end without having read anything
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2_000);
  });
  const onAbort = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  const ended = new Promise<string | undefined>((resolve) => {
    const end = (why: string | undefined) => {
      signal.removeEventListener('abort', onAbort);
      resolve(why);
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code, killedBy) => end(code === 0 ? undefined : said.trim() || `ctr: ${killedBy ?? code}`));
  });
  return { child, ended };
}

/** ctr stops reading at the archive's end mark, or when it has found a fault: its exit code tells which. */
function isBrokenPipe(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE';
}

/** What ctr says when containerd ended under it (out of memory, restarted): nothing is wrong with the archive. */
const AWAY = /\bcode = Unavailable\b|: unavailable$|connection refused|connection reset|transport is closing/i;

function failed(path: string, said: string | undefined, cause?: unknown): AgentError {
  const why = said?.split('\n').slice(-2).join(' ').slice(0, 500);
  return new AgentError({
    code: AWAY.test(why ?? '') ? 'CRI_UNAVAILABLE' : 'IMAGE_IMPORT_FAILED',
    message: `${path} can't be imported${why ? `: ${why}` : ''}`,
    cause,
  });
}
