import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, type Component, describeError, type Logger, silentLogger } from '../../core/index.ts';
import { readText, writeIfChanged } from '../../host/index.ts';
import type { AuthConfig } from '../types.ts';
import { watchPath } from '../watch.ts';
import { authFor } from './auth.ts';
import { HOSTS_HEADER, type HostConfig, hostFolder, planHosts, renderHosts } from './hosts.ts';
import { NO_REGISTRIES, parseRegistries, type Registries } from './parse.ts';

export interface RegistriesOptions {
  /** `/etc/rancher/k3s/registries.yaml`; it need not exist. */
  file: string;
  /** containerd's certs.d. */
  registryDir: string;
  /** `--disable-default-registry-endpoint` */
  noDefaultEndpoint?: boolean;
  /** The version of the containerd in use, for the warning about rewrites; undefined while it is not known. */
  containerdVersion: () => string | undefined;
  log?: Logger;
  clock?: Clock;
}

export interface RegistrySettings extends Component {
  /** Credentials to try for a pull of this image, best first; empty if none are configured. */
  authFor(image: string): AuthConfig[];
  lastError(): string | undefined;
}

/**
 * registries.yaml, followed while the agent runs. containerd reads hosts.toml anew at each pull, and credentials go with
 * the pull instead of into config.toml as k3s has it, so a change needs no restart of anything. A broken file is said
 * with its line, and what was valid before goes on.
 */
export function createRegistries(options: RegistriesOptions): RegistrySettings {
  const log = options.log ?? silentLogger;
  let current: Registries = NO_REGISTRIES;
  let applied: string | undefined;
  let lastError: string | undefined;
  let stopWatching = () => {};
  let turn: Promise<void> = Promise.resolve();

  const load = async () => {
    try {
      const text = (await readText(options.file)) ?? '';
      if (text === applied) return;
      const { registries, warnings } =
        text.trim() === '' ? { registries: NO_REGISTRIES, warnings: [] } : await parseRegistries(options.file, text);
      const plan = planHosts(registries, { noDefaultEndpoint: options.noDefaultEndpoint ?? false });
      await writeHosts(options.registryDir, plan.hosts);
      for (const warning of [...warnings, ...plan.warnings, ...rewriteWarning(registries, options.containerdVersion())])
        log.warn('registries.yaml holds something that has no effect', { what: warning });
      if (applied !== undefined) log.info('The registry settings were read again', { file: options.file });
      current = registries;
      applied = text;
      lastError = undefined;
    } catch (error) {
      const text = describeError(error);
      if (text !== lastError) log.error('The registry settings are not applied', { error: text });
      lastError = text;
    }
  };
  const reload = () => {
    turn = turn.then(load);
    return turn;
  };

  return {
    async start() {
      stopWatching(); // a start that is repeated because something else was not ready
      stopWatching = watchPath(options.file, () => void reload(), 200, options.clock);
      await reload();
    },
    async stop() {
      stopWatching();
      await turn;
    },
    authFor: (image) => authFor(current, image),
    lastError: () => lastError,
  };
}

function rewriteWarning(registries: Registries, version: string | undefined): string[] {
  const used = Object.entries(registries.mirrors).filter(([, mirror]) => Object.keys(mirror.rewrites).length > 0);
  if (used.length === 0 || version?.includes('k3s')) return [];
  const names = used.map(([name]) => name).join(', ');
  return [`rewrite of ${names}: only the containerd that comes with k3s rewrites, ${version ?? 'this one'} does not`];
}

/**
 * Makes certs.d be as planned: folders that either agent generated and that are no longer wanted go, the user's own
 * stay, and files that are right already are not touched.
 */
export async function writeHosts(dir: string, hosts: ReadonlyMap<string, HostConfig>): Promise<void> {
  const wanted = new Map([...hosts].map(([name, host]) => [hostFolder(name), renderHosts(host)]));
  for (const folder of await readdir(dir).catch(() => [])) {
    if (wanted.has(folder)) continue;
    const text = await readText(join(dir, folder, 'hosts.toml')).catch(() => undefined);
    if (text?.startsWith(`${HOSTS_HEADER}\n`)) await rm(join(dir, folder), { recursive: true, force: true });
  }
  await mkdir(dir, { recursive: true });
  for (const [folder, text] of wanted) {
    const names = await readdir(join(dir, folder)).catch((): string[] => []);
    for (const name of names)
      if (name !== 'hosts.toml') await rm(join(dir, folder, name), { recursive: true, force: true });
    await writeIfChanged(join(dir, folder, 'hosts.toml'), text, 0o600);
  }
}
