import { type FileHandle, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { abortError } from '../../../core/index.ts';
import { logPieces, openLog } from '../../logs/index.ts';
import { isComplete, MAX_HEAD } from './line-parser.ts';
import type { LogOptions } from './options.ts';
import { tailStart } from './tail.ts';

const CHUNK = 64 * 1024;

export interface OlderPieces {
  /** The file in use; the older ones lie beside it. */
  path: string;
  /** Lines still wanted from them; undefined = all that is new enough for `options.sinceMs`. */
  missing?: number;
  options: LogOptions;
  push(chunk: Buffer): Promise<void>;
  signal: AbortSignal;
}

interface Piece {
  path: string;
  compressed: boolean;
}

/**
 * Shows the end of the files that rotation put aside (`0.log.20260102-030405`, compressed ones end in `.gz`), oldest
 * first. The original shows only the file in use, so that just after a rotation `--tail=100` and `--since=1h` show next
 * to nothing; here what was asked for is shown as far as it is kept.
 */
export async function olderPieces({ path, missing, options, push, signal }: OlderPieces): Promise<void> {
  const plan: { piece: Piece; lines: number | undefined }[] = [];
  let left = missing;
  for (const piece of await rotatedFiles(path)) {
    if (left !== undefined && left <= 0) break;
    if (options.sinceMs !== undefined) {
      // Nothing in it is newer than its last change.
      const changed = (await stat(piece.path).catch(() => undefined))?.mtimeMs;
      if (changed === undefined || changed < options.sinceMs) break;
    }
    const lines = left === undefined ? undefined : Math.min(left, await countLines(piece, signal));
    if (left !== undefined) left -= lines ?? 0;
    plan.push({ piece, lines });
  }
  for (const { piece, lines } of plan.reverse()) await show({ piece, lines, push, signal });
}

/** Newest first. */
async function rotatedFiles(path: string): Promise<Piece[]> {
  const folder = dirname(path);
  const { kept } = logPieces(path, await readdir(folder).catch(() => []));
  return kept.reverse().map((name) => ({ path: join(folder, name), compressed: name.endsWith('.gz') }));
}

export interface MissedPieces {
  path: string;
  /** The file that was read to its end, and the one in use now. */
  old: FileHandle;
  next: FileHandle;
  push(chunk: Buffer): Promise<void>;
  signal: AbortSignal;
}

/** Shows what was put aside between two files: a slow client may still read one when the next but one is begun. */
export async function missedPieces({ path, old, next, push, signal }: MissedPieces): Promise<void> {
  const [read, current] = await Promise.all([old.stat(), next.stat()]);
  const missed: Piece[] = [];
  for (const piece of await rotatedFiles(path)) {
    const facts = await stat(piece.path).catch(() => undefined);
    if (facts === undefined || facts.ino === current.ino) continue;
    // A packed piece has another inode than the file it was made from, but keeps its time.
    if (facts.ino === read.ino || facts.mtimeMs <= read.mtimeMs) break;
    missed.push(piece);
  }
  for (const piece of missed.reverse()) await show({ piece, lines: undefined, push, signal });
}

async function show(init: {
  piece: Piece;
  lines: number | undefined;
  push(chunk: Buffer): Promise<void>;
  signal: AbortSignal;
}): Promise<void> {
  const { piece, lines, push, signal } = init;
  const file = await openLog(piece.path).catch(() => undefined);
  if (file === undefined) return; // removed meanwhile
  try {
    if (piece.compressed) {
      const skip = lines === undefined ? 0 : Math.max(0, (await countLines(piece, signal)) - lines);
      const passed = createLineCounter();
      for await (const chunk of unpacked(file, signal)) {
        const from = passed.lines >= skip ? 0 : passed.push(chunk, skip);
        if (from < chunk.length) await push(chunk.subarray(from));
      }
      return;
    }
    const { size } = await file.stat();
    const { start } = lines === undefined ? { start: 0 } : await tailStart(file, size, lines);
    const buffer = Buffer.alloc(CHUNK);
    for (let at = start; at < size; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK, size - at), at);
      if (bytesRead === 0) return;
      at += bytesRead;
      await push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close().catch(() => {});
  }
}

async function countLines(piece: Piece, signal: AbortSignal): Promise<number> {
  const file = await openLog(piece.path).catch(() => undefined);
  if (file === undefined) return 0;
  try {
    if (!piece.compressed) return (await tailStart(file, (await file.stat()).size, Number.MAX_SAFE_INTEGER)).lines;
    const counter = createLineCounter();
    for await (const chunk of unpacked(file, signal)) counter.push(chunk, Number.POSITIVE_INFINITY);
    return counter.lines;
  } finally {
    await file.close().catch(() => {});
  }
}

/** Ends quietly where a file is torn: what came before it counts. */
async function* unpacked(file: FileHandle, signal: AbortSignal): AsyncGenerator<Buffer> {
  const source = file.createReadStream({ autoClose: false, start: 0 });
  const gunzip = createGunzip();
  source.on('error', (error) => gunzip.destroy(error));
  const onAbort = () => gunzip.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    yield* source.pipe(gunzip) as AsyncIterable<Buffer>;
  } catch {
    if (signal.aborted) throw abortError();
  } finally {
    signal.removeEventListener('abort', onAbort);
    source.destroy();
    gunzip.destroy();
  }
}

/** Counts complete lines; `push` stops when there are `until` of them and returns how far it came. */
function createLineCounter(): { readonly lines: number; push(chunk: Buffer, until: number): number } {
  let lines = 0;
  let head: Buffer = Buffer.alloc(0);
  return {
    get lines() {
      return lines;
    },
    push(chunk, until) {
      for (let from = 0; from < chunk.length; ) {
        const end = chunk.indexOf(10, from);
        const stop = end < 0 ? chunk.length : end + 1;
        if (head.length < MAX_HEAD)
          head = Buffer.concat([head, chunk.subarray(from, Math.min(stop, from + MAX_HEAD - head.length))]);
        if (end < 0) return chunk.length;
        if (isComplete(head) === true) lines++;
        head = Buffer.alloc(0);
        from = stop;
        if (lines >= until) return from;
      }
      return chunk.length;
    },
  };
}
