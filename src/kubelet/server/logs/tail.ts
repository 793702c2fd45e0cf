import type { FileHandle } from 'node:fs/promises';
import { isComplete, MAX_HEAD } from './line-parser.ts';

const BLOCK = 64 * 1024;

export interface TailStart {
  /** Offset of the first entry to show. */
  start: number;
  /** Lines from there to the end; fewer than asked when the file has no more. */
  lines: number;
}

/**
 * Finds where the last `wanted` lines of a log begin, reading backwards in blocks. A line that containerd split into
 * several entries counts once; what is no entry counts nothing.
 */
export async function tailStart(file: Pick<FileHandle, 'read'>, size: number, wanted: number): Promise<TailStart> {
  if (wanted <= 0) return { start: size, lines: 0 };
  // The block and behind it the first bytes of the one after: a head may lie across the border.
  const buffer = Buffer.alloc(BLOCK + MAX_HEAD);
  let behind = 0;
  let lines = 0;
  let unfinished: boolean | undefined;
  let next = size;

  /** Looks at the entry that begins at `offset`; true when it is the first one not wanted. */
  const look = (offset: number, bytes: Buffer): boolean => {
    const complete = isComplete(bytes);
    if (complete === undefined) return false;
    unfinished ??= !complete;
    if (unfinished && lines === 0 && !complete) lines = 1;
    if (complete && ++lines > wanted) return true;
    next = offset;
    return false;
  };

  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - BLOCK);
    const length = end - begin;
    buffer.copyWithin(length, 0, Math.min(behind, MAX_HEAD));
    const carried = Math.min(behind, MAX_HEAD);
    if (!(await fill(file, buffer.subarray(0, length), begin))) break;
    for (let at = length - 1; at >= 0; ) {
      at = buffer.lastIndexOf(10, at);
      if (at < 0) break;
      const offset = begin + at + 1;
      if (offset < size && look(offset, buffer.subarray(at + 1, Math.min(at + 1 + MAX_HEAD, length + carried))))
        return { start: next, lines: wanted };
      at--;
    }
    if (begin === 0 && look(0, buffer.subarray(0, Math.min(MAX_HEAD, length + carried))))
      return { start: next, lines: wanted };
    behind = length + carried;
    end = begin;
  }
  return { start: Math.min(next, size), lines: Math.min(lines, wanted) };
}

/** False if the file got shorter meanwhile. */
async function fill(file: Pick<FileHandle, 'read'>, into: Buffer, position: number): Promise<boolean> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}
