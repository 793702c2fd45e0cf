import { createHash } from 'node:crypto';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import type { Logger } from '../../core/index.ts';
import { type Exec, readText, writeIfChanged } from '../../host/index.ts';
import { type NetworkConfigs, PLAIN_HANDLER } from '../plain-network.ts';
import {
  type ContainerdBinary,
  type ContainerdVersion,
  containerdVersion,
  findContainerd,
  searchPath,
} from './binary.ts';
import { cniFolders, findCniPlugins } from './cni.ts';
import { type ConfigInput, type Layout, layoutFor, renderConfig, templateName } from './config.ts';
import { defaultRuntime } from './default-runtime.ts';
import { cgroupsUnusable, probeHost, useSystemdCgroup } from './host-facts.ts';
import { findRuntimes } from './runtimes.ts';
import { renderTemplate, templateValues } from './template.ts';

export interface ContainerdOptions {
  /** k3s's data folder, `/var/lib/rancher/k3s`. */
  dataDir: string;
  /** `/run/k3s/containerd` when left out. */
  stateDir?: string;
  /** A path or a name looked up on PATH; `containerd` when left out. */
  binary?: string;
  snapshotter?: string;
  pauseImage: string;
  defaultRuntime?: string;
  /** Left out: pods' networks are set up by somebody else, as containerd's own defaults have it. */
  cni?: CniOptions;
  selinux?: boolean;
  nonrootDevices?: boolean;
  debug?: boolean;
  /** 10010 when left out. */
  streamPort?: number;
  /** Of containerd.log; 10 MiB and 3 when left out (k3s: 50 MB and 3, much for an SD card). */
  logMaxBytes?: number;
  logKeep?: number;
}

export interface CniOptions {
  binDirs?: readonly string[];
  confDir: string;
  /** The agent's own configurations, the first of them in `confDir`; see {@link PLAIN_HANDLER}. */
  own?: NetworkConfigs;
}

export interface ContainerdPaths {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
  readonly log: string;
  readonly etc: string;
  readonly config: string;
  readonly registryDir: string;
  readonly crictlConfig: string;
  /** Which containerd was started, by what; on the state folder, so that a reboot forgets it. */
  readonly record: string;
}

/** k3s's places (reference: pkg/agent/config). */
export function containerdPaths({ dataDir, stateDir = '/run/k3s/containerd' }: ContainerdOptions): ContainerdPaths {
  const agent = join(dataDir, 'agent');
  const etc = join(agent, 'etc/containerd');
  return {
    root: join(agent, 'containerd'),
    state: stateDir,
    socket: join(stateDir, 'containerd.sock'),
    log: join(agent, 'containerd/containerd.log'),
    etc,
    config: join(etc, 'config.toml'),
    registryDir: join(etc, 'certs.d'),
    crictlConfig: join(agent, 'etc/crictl.yaml'),
    record: join(stateDir, 'supervised.json'),
  };
}

/** All that is needed to start containerd. */
export interface Prepared {
  readonly binary: ContainerdBinary;
  readonly version: ContainerdVersion;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Changes when a running containerd would have to be restarted to be like this. */
  readonly hash: string;
  readonly systemdCgroup: boolean;
  /** Whether the configuration has the runtime handler `k3s-plain`; a user's template may leave it out. */
  readonly plainNetwork: boolean;
}

export interface PrepareDeps {
  exec: Exec;
  log: Logger;
  env: NodeJS.ProcessEnv;
  /** What was found out about a binary with this stamp before: starting one to ask costs tens of milliseconds. */
  knownVersion?: (binary: ContainerdBinary) => ContainerdVersion | undefined;
}

/** Finds containerd, writes its configuration (if it differs) and crictl's. Throws what its parts throw. */
export async function prepareContainerd(options: ContainerdOptions, deps: PrepareDeps): Promise<Prepared> {
  const paths = containerdPaths(options);
  const folders = searchPath(deps.env);
  const [binary, facts, runtimes, cni, blockio, rdt] = await Promise.all([
    findContainerd(folders, options.binary),
    probeHost(deps.env),
    findRuntimes(folders),
    findCniPlugins(options.cni?.binDirs ?? cniFolders(options.dataDir)),
    regularFile(join(paths.etc, 'blockio_config.yaml')),
    regularFile(join(paths.etc, 'rdt_config.yaml')),
  ]);
  const version = deps.knownVersion?.(binary) ?? (await containerdVersion(binary.path, deps.exec));
  if (options.cni && cni.missing.length > 0)
    deps.log.warn('CNI plugins are missing: pods will not get a network', {
      missing: cni.missing.join(','),
      remedy: 'install containernetworking-plugins',
    });
  const input: ConfigInput = {
    version,
    templateDir: paths.etc,
    root: paths.root,
    state: paths.state,
    socket: paths.socket,
    streamPort: options.streamPort ?? 10010,
    sandboxImage: options.pauseImage,
    snapshotter: options.snapshotter ?? 'overlayfs',
    registryDir: paths.registryDir,
    runtimes,
    defaultRuntime: await defaultRuntime({
      asked: options.defaultRuntime,
      found: runtimes,
      containerd: version,
      facts,
      exec: deps.exec,
      log: deps.log,
    }),
    cni: options.cni && {
      binDirs: cni.binDirs,
      confDir: options.cni.confDir,
      ...(options.cni.own ? { plainConfDir: dirname(options.cni.own.plain) } : {}),
    },
    systemdCgroup: useSystemdCgroup(facts),
    disableCgroup: cgroupsUnusable(facts),
    userNamespace: facts.userNamespace,
    mayLowerOomScore: facts.mayLowerOomScore,
    unprivilegedPorts: facts.kernel[0] > 4 || (facts.kernel[0] === 4 && facts.kernel[1] >= 11),
    selinux: options.selinux ?? false,
    nonrootDevices: options.nonrootDevices ?? false,
    blockioFile: blockio,
    rdtFile: rdt,
  };
  const { text, layout } = await configText(input, deps.log);
  await mkdir(join(paths.etc, layout === 3 ? 'config-v3.toml.d' : 'config.toml.d'), { recursive: true });
  await writeIfChanged(paths.config, text, 0o600);
  await writeIfChanged(paths.crictlConfig, `runtime-endpoint: unix://${paths.socket}\n`);
  const env = containerdEnv(deps.env, binary.path);
  const argv = [binary.path, '-c', paths.config];
  // A template of the older layout need not say where things are.
  if (layout === 2) argv.push('-a', paths.socket, '--state', paths.state, '--root', paths.root);
  const level = deps.env.CONTAINERD_LOG_LEVEL ?? (options.debug ? 'debug' : undefined);
  if (level) argv.push('--log-level', level);
  const dropIns = await readDropIns(join(paths.etc, layout === 3 ? 'config-v3.toml.d' : 'config.toml.d'));
  const seen = Object.entries(env).filter(([key]) => /proxy$/i.test(key) || `CONTAINERD_${key}` in deps.env);
  const hash = createHash('sha256')
    .update(JSON.stringify([binary.path, binary.stamp, argv, text, dropIns, seen]))
    .digest('hex');
  return {
    binary,
    version,
    argv,
    env,
    hash,
    systemdCgroup: input.systemdCgroup,
    plainNetwork: text.includes(PLAIN_HANDLER),
  };
}

/** The user's template of this layout, or the generated file; containerd 2 also takes the older template. */
async function configText(input: ConfigInput, log: Logger): Promise<{ text: string; layout: Layout }> {
  const newest = layoutFor(input.version);
  for (const layout of newest === 3 ? ([3, 2] as const) : ([2] as const)) {
    const path = join(input.templateDir, templateName(layout));
    const text = await readText(path);
    if (text === undefined) continue;
    log.info("Using the user's containerd template", { path });
    const base = renderConfig(input, layout);
    return { text: renderTemplate({ path, text, base, values: templateValues(input) }), layout };
  }
  const unused = join(input.templateDir, templateName(3));
  if (newest === 2 && (await regularFile(unused)))
    log.warn('The containerd template is for containerd 2 and is left out', { path: unused });
  return { text: renderConfig(input, newest), layout: newest };
}

/**
 * The agent's environment without what is only for the agent (join token, systemd's socket); `CONTAINERD_X` becomes
 * `X`, as with k3s.
 */
export function containerdEnv(env: NodeJS.ProcessEnv, binary: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [key, value] of Object.entries(env))
    if (value !== undefined && !/^(NOTIFY_SOCKET$|WATCHDOG_|LISTEN_|K3S_|NODE_|CONTAINERD_)/.test(key))
      out[key] = value;
  for (const [key, value] of Object.entries(env)) {
    const name = /^CONTAINERD_(.+)$/.exec(key)?.[1];
    if (value !== undefined && name !== undefined && name !== 'LOG_LEVEL') out[name] = value;
  }
  // Its shim and runc may lie beside it.
  const folders = searchPath(out);
  const own = dirname(binary);
  out.PATH = (folders.includes(own) ? folders : [own, ...folders]).join(delimiter);
  return out;
}

async function regularFile(path: string): Promise<string | undefined> {
  return (await stat(path).catch(() => undefined))?.isFile() ? path : undefined;
}

async function readDropIns(folder: string): Promise<[string, string][]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.toml')).sort();
  return Promise.all(
    names.map(async (name): Promise<[string, string]> => [name, (await readText(join(folder, name))) ?? '']),
  );
}
