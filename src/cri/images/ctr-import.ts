import { spawn } from 'node:child_process';
import { pipeline } from 'node:stream/promises';
import { AgentError, abortError, errorCode } from '../../core/index.ts';
import { type FileKind, openArchive } from './archive-file.ts';
import { ArchiveNames } from './archive-names.ts';

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
 * Imports one archive through `ctr images import`, which comes with containerd and knows every shape of image archive;
 * the bytes are streamed through here only to note the names. Layers are not unpacked, as with k3s: that happens when a
 * container needs them, and an archive may hold far more than a board uses. Resolves with the names the archive
 * declares. Throws `IMAGE_IMPORT_FAILED` with ctr's last words.
 */
export async function importArchive(options: ImportOptions): Promise<string[]> {
  const { path, signal } = options;
  if (signal.aborted) throw abortError();
  const archive = await openArchive(path, options.kind);
  // From containerd 2.0 on, ctr by default leaves the work to the daemon's transfer service, which takes other names.
  const flags = options.containerdMajor >= 2 ? ['--local', '--no-unpack'] : ['--no-unpack'];
  const argv = ['-a', options.socket, '-n', options.namespace, 'images', 'import', ...flags, '-'];
  const child = spawn(options.ctr, argv, { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2_000);
  });
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, killedBy) => resolve(killedBy ?? code ?? 1));
  });
  const onAbort = () => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  const names = new ArchiveNames();
  try {
    const [source, ...transforms] = archive.stages;
    const piped = pipeline([source, ...transforms, names, child.stdin], { signal }).then(
      () => undefined,
      (error: unknown) => error,
    );
    const failure = await piped;
    // A broken archive must not look like a short one that ended well; one that ctr had enough of is still being filed.
    if (failure !== undefined && !isBrokenPipe(failure)) child.kill('SIGKILL');
    const code = await ended;
    if (signal.aborted) throw abortError();
    // A decompressor that could write no more because ctr had all it wanted has not failed.
    if (!(code === 0 && isBrokenPipe(failure))) await archive.finished;
    if (code !== 0 && (failure === undefined || isBrokenPipe(failure)))
      throw failed(path, said.trim() || `ctr: ${code}`);
    if (failure !== undefined && !(code === 0 && isBrokenPipe(failure))) throw failed(path, undefined, failure);
    return names.names();
  } finally {
    signal.removeEventListener('abort', onAbort);
    archive.close();
  }
}

/** ctr stops reading at the archive's end mark, or when it has found a fault: its exit code tells which. */
function isBrokenPipe(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'EPIPE' || code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE';
}

function failed(path: string, said: string | undefined, cause?: unknown): AgentError {
  const why = said?.split('\n').slice(-2).join(' ').slice(0, 500);
  return new AgentError({
    code: 'IMAGE_IMPORT_FAILED',
    message: `${path} can't be imported${why ? `: ${why}` : ''}`,
    cause,
  });
}
