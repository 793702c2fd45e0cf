import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { createGzip } from 'node:zlib';
import { openLog } from './open.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants;

/**
 * Packs a log that was put aside into `PATH.gz`. The copy is on the disk before it gets its name and before the original
 * goes, so that a power cut at any moment leaves one of the two whole. Links are not followed: a pod that has the log
 * folder mounted could else have any file of the host copied to where it can read it.
 */
export async function compressLog(path: string, signal: AbortSignal): Promise<void> {
  const half = `${path}.tmp`;
  const source = await openLog(path);
  try {
    const facts = await source.stat();
    const target = await open(half, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, facts.mode & 0o777);
    try {
      await pack(source, target, signal);
      // `kubectl logs --since` leaves out what was not written to since then.
      await target.utimes(facts.mtime, facts.mtime);
      await target.sync();
    } finally {
      await target.close();
    }
    await rename(half, `${path}.gz`);
  } finally {
    await source.close();
    await rm(half, { force: true });
  }
  await rm(path, { force: true });
}

async function pack(source: FileHandle, target: FileHandle, signal: AbortSignal): Promise<void> {
  const gzip = createGzip();
  const feed = async () => {
    const buffer = Buffer.allocUnsafe(64 * 1024);
    for (let at = 0; ; ) {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, at);
      signal.throwIfAborted();
      if (bytesRead === 0) break;
      at += bytesRead;
      // The buffer is filled anew once gzip has taken it.
      await new Promise<void>((resolve, reject) =>
        gzip.write(buffer.subarray(0, bytesRead), (error) => (error ? reject(error) : resolve())),
      );
    }
    gzip.end();
  };
  const fed = feed().catch((error: unknown) => {
    gzip.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  for await (const chunk of gzip as AsyncIterable<Buffer>) await target.writeFile(chunk);
  await fed;
}

/** Whether `PATH.gz` holds all of `PATH`: gzip keeps the unpacked length in its last four bytes. */
export async function isWholeCopy(path: string): Promise<boolean> {
  const file = await openLog(`${path}.gz`);
  try {
    const { size } = await file.stat();
    if (size < 18) return false;
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, size - 4);
    return buffer.readUInt32LE() === (await stat(path)).size % 2 ** 32;
  } finally {
    await file.close();
  }
}
