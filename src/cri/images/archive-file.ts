import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import type { Readable, Transform } from 'node:stream';
import { AgentError } from '../../core/index.ts';
import { findProgram, searchPath } from '../containerd/binary.ts';

/** Named like the program that undoes it to its standard output when called with `-dc`. */
export type Compression = 'gzip' | 'zstd' | 'lz4' | 'bzip2';
export type FileKind = 'tar' | Compression | 'list';

const KINDS: readonly (readonly [RegExp, FileKind])[] = [
  [/\.tar$/i, 'tar'],
  [/\.(tar\.gz|tgz)$/i, 'gzip'],
  [/\.(tar\.zst|tzst)$/i, 'zstd'],
  [/\.tar\.lz4$/i, 'lz4'],
  [/\.(tar\.bz2|tbz)$/i, 'bzip2'],
  [/\.txt$/i, 'list'],
];

/** Undefined for files that are none of ours. */
export function kindOf(path: string): FileKind | undefined {
  return KINDS.find(([pattern]) => pattern.test(path))?.[1];
}

/** A compressed archive's tar bytes, as they are read. */
export interface OpenArchive {
  /** To be piped on in this order; none holds more than its window (zstd: 32 MiB at most, as with k3s). */
  readonly stages: readonly [Readable, ...Transform[]];
  /** Rejects if the program that decompresses failed. */
  readonly finished: Promise<void>;
  close(): void;
}

/**
 * Decompression is left to the host's program of the same name where there is one, since what it needs is given back when it ends: done
 * here, a zstd archive leaves the agent some 20 MB larger. Throws `DECOMPRESSOR_MISSING` if lz4 or bzip2 is needed and
 * not installed; Node can do the others itself.
 */
export async function openArchive(path: string, kind: Compression): Promise<OpenArchive> {
  const program = await findProgram(kind, searchPath(process.env));
  if (program !== undefined) return openByProgram(path, program);
  if (kind === 'lz4' || kind === 'bzip2')
    throw new AgentError({
      code: 'DECOMPRESSOR_MISSING',
      message: `${path} is compressed with ${kind}, which is not installed`,
      remedy: `install the package ${kind}, or compress the archive with gzip or zstd`,
    });
  const file = createReadStream(path);
  const stages: [Readable, ...Transform[]] = [file];
  if (kind === 'gzip') stages.push((await import('node:zlib')).createGunzip());
  if (kind === 'zstd') {
    const { constants, createZstdDecompress } = await import('node:zlib');
    stages.push(createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: 25 } }));
  }
  return { stages, finished: Promise.resolve(), close: () => void file.destroy() };
}

function openByProgram(path: string, program: string): OpenArchive {
  // From here to the pipeline nothing may wait: Node throws away the output of a child that ends while nobody reads it.
  const child = spawn(program, ['-dc', path], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 1_000) said += chunk.toString();
  });
  const finished = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const message = `${program} can't read ${path}: ${said.trim().slice(0, 300)}`;
      if (code === 0) resolve();
      else reject(new AgentError({ code: 'ARCHIVE_BROKEN', message }));
    });
  });
  finished.catch(() => {}); // looked at by the importer
  return { stages: [child.stdout], finished, close: () => void child.kill('SIGKILL') };
}
