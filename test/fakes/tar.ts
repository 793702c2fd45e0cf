export interface TarEntry {
  /** Path without a leading slash; folders end with one. */
  name: string;
  mode?: number;
  data?: Uint8Array;
  /** Makes a symbolic link. */
  link?: string;
}

const BLOCK = 512;

/** A ustar archive. Names up to 100 bytes; all owned by root, all from the same time, so that equal input gives equal bytes. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const data = Buffer.from(entry.data ?? []);
    const padding = Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK);
    return [header(entry, data.length), data, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function header({ name, mode, link }: TarEntry, size: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`too long a name for tar: ${name}`);
  const block = Buffer.alloc(BLOCK);
  const folder = name.endsWith('/');
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  block.write(name, 0);
  block.write(octal(mode ?? (folder ? 0o755 : 0o644), 8), 100);
  block.write(octal(0, 8), 108);
  block.write(octal(0, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(1_700_000_000, 12), 136);
  block.write('        ', 148);
  block.write(link !== undefined ? '2' : folder ? '5' : '0', 156);
  if (link !== undefined) block.write(link, 157);
  block.write('ustar\x0000', 257, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
