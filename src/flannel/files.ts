import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AgentError, type Cidr, cidrContains, type Family, familyOf } from '../core/index.ts';
import { publishIfChanged, readText } from '../host/index.ts';
import { conflistText, type Subnets, subnetEnvText } from './cni-files.ts';
import type { FlannelPaths } from './options.ts';

export interface CniFiles {
  paths: FlannelPaths;
  /** The user's own conflist, copied as it is. */
  cniConf?: string;
  subnets: Subnets;
  networks: Subnets;
  mtu: number;
}

/**
 * Writes the conflist and subnet.env if they differ; the Node turns Ready by the first. Throws `CNI_PLUGIN_MISSING`
 * (after writing: hostNetwork pods need no plugin) and `FLANNEL_CNI_CONF` for an unreadable file of the user's.
 */
export async function writeCniFiles({ paths, cniConf, ...question }: CniFiles): Promise<void> {
  const plugins = await pluginsIn(paths.cniBin);
  // Before the other one: that turns the Node Ready, and pods may use either from then on.
  if (cniConf === undefined)
    await publishIfChanged(paths.plainConflist, conflistText({ ...question, plugins: new Set() }), 0o600);
  else await rm(paths.plainConflist, { force: true });
  const conflist =
    cniConf === undefined
      ? conflistText({ ...question, ...(plugins ? { plugins } : {}) })
      : await userConflist(cniConf);
  await Promise.all([
    publishIfChanged(paths.conflist, conflist, 0o600),
    publishIfChanged(paths.subnetEnv, subnetEnvText(question), 0o644),
  ]);
  const missing = plugins ? ['bridge', 'host-local'].filter((name) => !plugins.has(name)) : [];
  if (missing.length > 0 && cniConf === undefined)
    throw new AgentError({
      code: 'CNI_PLUGIN_MISSING',
      message: `the CNI plugins ${missing.join(' and ')} are not in ${paths.cniBin}`,
      remedy: 'Install them: apt install containernetworking-plugins.',
    });
}

async function pluginsIn(dir: string | undefined): Promise<ReadonlySet<string> | undefined> {
  if (dir === undefined) return undefined;
  return new Set(await readdir(dir).catch(() => []));
}

async function userConflist(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AgentError({
      code: 'FLANNEL_CNI_CONF',
      message: `the file ${path} of --flannel-cni-conf can't be read`,
      cause,
    });
  }
}

/**
 * Frees the addresses that host-local still counts as used in blocks that are no longer this node's; nobody would ever
 * give them back, and its "last reserved" mark would be of the wrong block.
 */
export async function dropForeignReservations(dir: string, subnets: Subnets): Promise<number> {
  let dropped = 0;
  for (const name of await readdir(dir).catch(() => [] as string[])) {
    // IPv6 addresses are file names as they are; only Windows needs them escaped.
    const address = name.startsWith('last_reserved_ip.') ? ((await readText(join(dir, name))) ?? '').trim() : name;
    if (isForeign(address, subnets)) {
      await rm(join(dir, name), { force: true });
      dropped++;
    }
  }
  return dropped;
}

function isForeign(address: string, subnets: Partial<Record<Family, Cidr>>): boolean {
  const family = familyOf(address);
  if (family === undefined) return false;
  const subnet = subnets[family];
  return subnet === undefined || !cidrContains(subnet, address);
}
