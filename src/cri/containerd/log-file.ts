import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm, stat, truncate } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';

export interface RotationOptions {
  readonly path: string;
  /** Bytes after which the file is moved away. */
  readonly maxBytes: number;
  /** Compressed old files that are kept (`<path>.1.gz` is the newest). */
  readonly keep: number;
}

/**
 * Rotates by copying and emptying, since containerd keeps the file open for as long as it lives (for appending, so it
 * goes on at the new end); what it writes between the two steps is lost. True if it rotated.
 */
export async function rotateLog({ path, maxBytes, keep }: RotationOptions): Promise<boolean> {
  const size = (await stat(path).catch(() => undefined))?.size ?? 0;
  if (size <= maxBytes) return false;
  const { createGzip } = await import('node:zlib');
  const fresh = `${path}.tmp.gz`;
  try {
    await pipeline(
      createReadStream(path, { end: size - 1 }),
      createGzip({ level: 6 }),
      createWriteStream(fresh, { mode: 0o600 }),
    );
    for (let n = keep - 1; n >= 1; n--) await rename(`${path}.${n}.gz`, `${path}.${n + 1}.gz`).catch(() => {});
    await rename(fresh, `${path}.1.gz`);
  } catch (error) {
    await rm(fresh, { force: true });
    // No room for a copy is the very moment when the log must not grow further.
    await truncate(path);
    throw error;
  }
  await truncate(path);
  return true;
}

const MAX_READ = 32 * 1024;

/** What was written to a log since byte `from`, its last 32 KiB at most; empty if there is no log. */
export async function logSince(path: string, from: number): Promise<string> {
  const handle = await open(path, 'r').catch(() => undefined);
  if (!handle) return '';
  try {
    const { size } = await handle.stat();
    const start = Math.max(from > size ? 0 : from, size - MAX_READ);
    const buffer = Buffer.alloc(size - start);
    await handle.read(buffer, 0, buffer.length, start);
    return buffer.toString('utf8');
  } finally {
    await handle.close();
  }
}

const COMPLAINT =
  /level=(error|fatal|panic)|failed to load plugin.*\.cri|^containerd: |^panic:|^fatal error:|^unexpected fault/;

/** The last lines that tell why a containerd stopped: errors if there are any, else whatever came last. */
export function lastComplaints(log: string): string {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => COMPLAINT.test(line));
  return (errors.length > 0 ? errors : lines).slice(-2).map(plainWords).join(' | ').slice(0, 600);
}

/** The message and error of a logfmt line, without time and level. */
function plainWords(line: string): string {
  const words = /msg="((?:[^"\\]|\\.)*)"(?:.*?error="((?:[^"\\]|\\.)*)")?/.exec(line)?.slice(1) ?? [line];
  return words.filter(Boolean).join(': ');
}

export async function fileSize(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}
