import { readdir, readFile, statfs } from 'node:fs/promises';
import os from 'node:os';
import { readText } from '../host/index.ts';

/** Facts of the operating system that a Node shows in status.nodeInfo. They don't change while the board is up. */
export interface SystemFacts {
  architecture: string;
  kernelVersion: string;
  osImage: string;
  bootID: string;
  machineID: string;
  systemUUID: string;
}

/** What the board has. Memory and storage in bytes, cpu in whole logical processors. */
export interface Capacity {
  cpu: number;
  memory: number;
  swap: number;
  ephemeralStorage: number;
  /** Page size in bytes → bytes reserved for pages of that size. */
  hugepages: ReadonlyMap<number, number>;
}

const ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm', ia32: '386' };

/** The architecture's name in Kubernetes (Go's GOARCH). */
function goArchitecture(arch: string = process.arch): string {
  return ARCHITECTURE[arch] ?? arch;
}

export async function readSystemFacts(): Promise<SystemFacts> {
  const [release, boot, machine, dbus, product] = await Promise.all(
    [
      '/etc/os-release',
      '/proc/sys/kernel/random/boot_id',
      '/etc/machine-id',
      '/var/lib/dbus/machine-id',
      '/sys/class/dmi/id/product_uuid',
    ].map((path) => readText(path).catch(() => undefined)),
  );
  const machineID = (machine ?? dbus ?? '').trim();
  return {
    architecture: goArchitecture(),
    kernelVersion: os.release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(release ?? '')?.[1] ?? 'Linux',
    bootID: (boot ?? '').trim(),
    machineID,
    systemUUID: (product ?? machineID).trim(),
  };
}

/** `dataDir` decides which file system counts as ephemeral storage (the kubelet's root dir). */
export async function readCapacity(dataDir: string): Promise<Capacity> {
  const [meminfo, fs, hugepages] = await Promise.all([
    readFile('/proc/meminfo', 'utf8').then(parseMeminfo),
    readFilesystem(dataDir),
    readHugepages(),
  ]);
  return {
    cpu: os.cpus().length || 1,
    memory: meminfo('MemTotal'),
    swap: meminfo('SwapTotal'),
    ephemeralStorage: fs?.total ?? 0,
    hugepages,
  };
}

/** Fields of /proc/meminfo (`MemTotal`, `Inactive(file)`) in bytes; 0 for what the kernel does not have. */
export type Meminfo = (field: string) => number;

export function parseMeminfo(text: string): Meminfo {
  const fields = new Map([...text.matchAll(/^([\w()]+):\s+(\d+) kB/gm)].map((m) => [m[1], Number(m[2]) * 1024]));
  return (field) => fields.get(field) ?? 0;
}

export interface FilesystemUse {
  total: number;
  available: number;
  inodes: number;
  inodesFree: number;
}

/** Bytes and inodes of the file system a path lies on; undefined if it can't be read. */
export async function readFilesystem(path: string): Promise<FilesystemUse | undefined> {
  try {
    const fs = await statfs(path);
    return {
      total: fs.blocks * fs.bsize,
      available: fs.bavail * fs.bsize,
      inodes: fs.files,
      inodesFree: fs.ffree,
    };
  } catch {
    return undefined;
  }
}

async function readHugepages(): Promise<ReadonlyMap<number, number>> {
  const sizes = new Map<number, number>();
  const root = '/sys/kernel/mm/hugepages';
  for (const name of await readdir(root).catch(() => [])) {
    const kb = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1]);
    const pages = Number(await readText(`${root}/${name}/nr_hugepages`).catch(() => '0'));
    if (kb > 0) sizes.set(kb * 1024, (pages || 0) * kb * 1024);
  }
  return sizes;
}
