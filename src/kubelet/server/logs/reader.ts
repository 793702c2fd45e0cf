import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { abortError, type Clock } from '../../../core/index.ts';
import { openLog } from '../../logs/index.ts';
import { LogLineParser } from './line-parser.ts';
import type { LogOptions } from './options.ts';
import { missedPieces, olderPieces } from './rotated.ts';
import { tailStart } from './tail.ts';

const CHUNK = 64 * 1024;
/** Only where the kernel has no watch left to give. */
const POLL_MS = 1_000;

export interface LogReading {
  path: string;
  options: LogOptions;
  /** Called when the file is open: from here on there is an answer, be it an empty one. */
  opened?(): void;
  /** Takes what to show; resolves when the client can take more. */
  write(text: Buffer): Promise<void>;
  /** Calls back once the container has ended; the return value unsubscribes. Needed to follow. */
  onEnd(ended: () => void): () => void;
  signal: AbortSignal;
  clock: Clock;
}

/** All bytes the client asked for are written. */
class LimitReached extends Error {}

/**
 * Reads a container's log file, and with `follow` goes on until the container has ended and its file is read to the
 * end. Memory is a chunk or two however long the lines; a slow client slows the reading. Following survives rotation
 * (rename and anew) and truncation. Throws `LOG_UNREADABLE`, or AbortError when the signal fires.
 */
export async function readLog(reading: LogReading): Promise<void> {
  const { path, options, signal } = reading;
  const parser = new LogLineParser(options);
  const pump = createPump(reading, parser);
  let file = await openLog(path);
  reading.opened?.();
  const follower = options.follow ? follow(reading) : undefined;
  try {
    const { size } = await file.stat();
    let position = 0;
    if (options.tailLines !== undefined) {
      const tail = await tailStart(file, size, options.tailLines);
      position = tail.start;
      const missing = options.tailLines - tail.lines;
      if (missing > 0 && size > 0) await olderPieces({ path, missing, signal, options, push: pump.push });
    } else if (options.sinceMs !== undefined) await olderPieces({ path, signal, options, push: pump.push });

    if (follower === undefined) {
      await pump.file(file, position, size);
      return;
    }
    for (;;) {
      const { ended } = follower;
      position = await pump.file(file, position, Number.POSITIVE_INFINITY);
      const change = await whatChanged(path, file, position);
      if (change === 'truncated') {
        position = 0;
        parser.reset();
        continue;
      }
      if (change === 'replaced') {
        // The writer moved on to the new file before this look, so what the old one holds now is its last.
        position = await pump.file(file, position, Number.POSITIVE_INFINITY);
        const next = await openLog(path).catch(() => undefined);
        if (next !== undefined) {
          const old = file;
          file = next;
          position = 0;
          parser.reset();
          await missedPieces({ path, old, next, push: pump.push, signal }).finally(() => old.close());
          parser.reset();
          continue;
        }
        // Moved again in this moment: the folder will tell.
      }
      if (ended) return;
      await follower.next();
    }
  } catch (error) {
    if (!(error instanceof LimitReached)) throw error;
  } finally {
    follower?.close();
    await file.close().catch(() => {});
  }
}

interface Pump {
  /** Parses and writes a piece. */
  push(chunk: Buffer): Promise<void>;
  /** Parses and writes a file from `position` up to `end` or its present end; returns the new position. */
  file(file: FileHandle, position: number, end: number): Promise<number>;
}

function createPump({ write, signal, options }: LogReading, parser: LogLineParser): Pump {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  const push = async (chunk: Buffer) => {
    if (signal.aborted) throw abortError();
    const pieces: Buffer[] = [];
    parser.push(chunk, (text) => {
      const piece = text.length > left ? text.subarray(0, left) : text;
      left -= piece.length;
      if (piece.length > 0) pieces.push(piece);
    });
    // A copy: the chunk is filled anew while the client still takes this one.
    if (pieces.length > 0) await write(Buffer.concat(pieces));
    if (left <= 0) throw new LimitReached();
    if (signal.aborted) throw abortError();
  };
  return {
    push,
    async file(file, from, end) {
      let position = from;
      // Held only while there is something to read: most followers wait most of the time.
      let buffer: Buffer | undefined;
      while (position < end) {
        const left = Math.min(end, (await file.stat()).size) - position;
        if (left <= 0) break;
        buffer ??= Buffer.allocUnsafe(Math.min(CHUNK, left));
        const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, left), position);
        if (bytesRead === 0) break;
        position += bytesRead;
        await push(buffer.subarray(0, bytesRead));
      }
      return position;
    },
  };
}

async function whatChanged(path: string, file: FileHandle, position: number): Promise<'replaced' | 'truncated' | 'no'> {
  const [ours, there] = await Promise.all([file.stat(), stat(path).catch(() => undefined)]);
  if (there !== undefined && (there.ino !== ours.ino || there.dev !== ours.dev)) return 'replaced';
  return ours.size < position ? 'truncated' : 'no';
}

interface Follower {
  readonly ended: boolean;
  /** Resolves at the next change of the folder or at the container's end; rejects when the client is gone. */
  next(): Promise<void>;
  close(): void;
}

function follow({ path, onEnd, signal, clock }: LogReading): Follower {
  let ended = false;
  let dirty = true;
  let wake: (() => void) | undefined;
  const poke = () => {
    dirty = true;
    wake?.();
  };
  let polling = false;
  let watcher: FSWatcher | undefined;
  const fallBack = () => {
    polling = true;
    poke();
  };
  try {
    watcher = watch(dirname(path), { persistent: false }, poke);
    watcher.on('error', fallBack);
  } catch {
    fallBack(); // out of inotify watches
  }
  const unsubscribe = onEnd(() => {
    ended = true;
    poke();
  });
  return {
    get ended() {
      return ended;
    },
    async next() {
      if (signal.aborted) throw abortError();
      if (!dirty) {
        const cancel = polling ? clock.after(POLL_MS, poke) : undefined;
        signal.addEventListener('abort', poke, { once: true });
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        signal.removeEventListener('abort', poke);
        cancel?.();
        wake = undefined;
        if (signal.aborted) throw abortError();
      }
      dirty = false;
    },
    close() {
      unsubscribe();
      watcher?.close();
    },
  };
}
