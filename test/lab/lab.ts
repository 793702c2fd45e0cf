import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cgroupMounts, removeCgroups } from './cgroups.ts';
import { bootHost, type LabHost } from './host.ts';
import { abandonedPrefix } from './names.ts';
import { createNetwork, type LabNetwork, sweepNetworks } from './network.ts';

/** A network and the hosts booted on it. `remove` takes everything away, whatever state it is in. */
export interface Lab {
  network: LabNetwork;
  /** Scratch folder of the lab; disks of hosts are below it. */
  dir: string;
  boot(name: string): Promise<LabHost>;
  remove(): Promise<void>;
}

/** Why no lab can be had on this machine; undefined if one can. */
export function labUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'not root';
  for (const program of ['ip', 'nsenter', 'unshare', 'bash', 'mount', 'sysctl', 'hostname'])
    if (!['/usr/sbin', '/usr/bin', '/sbin', '/bin'].some((dir) => existsSync(join(dir, program))))
      return `${program} is not installed`;
  return undefined;
}

export async function createLab(count: number): Promise<Lab> {
  await sweep();
  const network = await createNetwork(count);
  const dir = mkdtempSync(join(tmpdir(), `${network.prefix}-`));
  mkdirSync(dir, { recursive: true });
  const hosts: LabHost[] = [];
  return {
    network,
    dir,
    async boot(name) {
      const host = await bootHost({ network, name, dir });
      hosts.push(host);
      return host;
    },
    async remove() {
      for (const host of hosts) await host.remove();
      await network.remove();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Takes away what crashed runs left: processes, networks, cgroups, folders. */
export async function sweep(): Promise<void> {
  await sweepNetworks();
  for (const { path } of cgroupMounts())
    for (const name of readdirSync(path)) if (abandonedPrefix(name) !== undefined) removeCgroups(name);
  for (const name of readdirSync(tmpdir()))
    if (abandonedPrefix(name) !== undefined) rmSync(join(tmpdir(), name), { recursive: true, force: true });
}
