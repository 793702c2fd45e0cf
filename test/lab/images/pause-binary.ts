/**
 * The whole program of a pause container, as machine code: block INT, TERM and CHLD, wait for one of them, reap what
 * ended, leave on the others. Blocked signals reach process 1 too, for which the kernel ignores default actions.
 *
 *     sigprocmask(BLOCK, {INT, TERM, CHLD})
 *     again: signal = sigtimedwait(set)      an interrupted wait is repeated
 *            if signal != CHLD: exit(0)
 *     reap:  while wait4(-1, WNOHANG) > 0
 *            goto again
 */
const CODE: Readonly<Record<string, string>> = {
  x64:
    '680240010031ff4889e631d26a08415a6a0e580f05' +
    '4889e731f631d26a08415ab8800000000f05' +
    '83f811740b85c078e531ff6a3c580f05' +
    '6aff5f31f66a015a4531d26a3d580f0585c07fecebc8',
  arm64:
    '490088d22900a0f2e90f1ff8000080d2e1030091020080d2030180d2e81080d2010000d4' +
    'e0030091010080d2020080d2030180d2281180d2010000d4' +
    '1f4400f1a000005400ffffb7000080d2a80b80d2010000d4' +
    '00008092010080d2220080d2030080d2882080d2010000d41f0000f12cffff54ecffff17',
  arm:
    '0040a0e3025004e3015040e304402de504502de50000a0e30d10a0e10020a0e30830a0e3af70a0e3000000ef' +
    '0d00a0e10010a0e30020a0e30830a0e3b170a0e3000000ef' +
    '110050e30400000a000050e3f5ffffba0000a0e30170a0e3000000ef' +
    '0000e0e30010a0e30120a0e30030a0e37270a0e3000000ef000050e3f7ffffcae9ffffea',
};

const MACHINE: Readonly<Record<string, number>> = { x64: 62, arm64: 183, arm: 40 };
const BASE = 0x10000;

/** A static ELF executable for one of Node's architecture names. Throws for others. */
export function pauseBinary(arch: string = process.arch): Buffer {
  const code = CODE[arch];
  const machine = MACHINE[arch];
  if (code === undefined || machine === undefined) throw new Error(`no pause program for ${arch}`);
  const text = Buffer.from(code, 'hex');
  return arch === 'arm' ? elf32(machine, text) : elf64(machine, text);
}

function identification(bits: 1 | 2): Buffer {
  return Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, bits, 1, 1, 0]), Buffer.alloc(8)]);
}

function elf64(machine: number, text: Buffer): Buffer {
  const header = Buffer.alloc(64 + 56);
  identification(2).copy(header);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(BASE + header.length), 24);
  header.writeBigUInt64LE(64n, 32);
  for (const [offset, value] of [
    [52, 64],
    [54, 56],
    [56, 1],
  ] as const)
    header.writeUInt16LE(value, offset);
  const size = BigInt(header.length + text.length);
  header.writeUInt32LE(1, 64);
  header.writeUInt32LE(5, 68);
  header.writeBigUInt64LE(BigInt(BASE), 80);
  header.writeBigUInt64LE(BigInt(BASE), 88);
  header.writeBigUInt64LE(size, 96);
  header.writeBigUInt64LE(size, 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, text]);
}

function elf32(machine: number, text: Buffer): Buffer {
  const header = Buffer.alloc(52 + 32);
  identification(1).copy(header);
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeUInt32LE(BASE + header.length, 24);
  header.writeUInt32LE(52, 28);
  header.writeUInt32LE(0x05000400, 36); // EABI 5, hard float
  for (const [offset, value] of [
    [40, 52],
    [42, 32],
    [44, 1],
  ] as const)
    header.writeUInt16LE(value, offset);
  const size = header.length + text.length;
  for (const [offset, value] of [
    [52, 1],
    [60, BASE],
    [64, BASE],
    [68, size],
    [72, size],
    [76, 5],
    [80, 0x1000],
  ] as const)
    header.writeUInt32LE(value, offset);
  return Buffer.concat([header, text]);
}
