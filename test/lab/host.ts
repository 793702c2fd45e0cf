import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootScript } from './boot-script.ts';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import type { LabNetwork } from './network.ts';
import { eventually, run } from './run.ts';

/** A program that was started on a host. */
export interface HostProcess {
  running(): boolean;
  /** Sends a signal to the program itself. */
  signal(name: NodeJS.Signals): void;
  /** How it ended, such as `exit 0` or `SIGKILL`. */
  ended: Promise<string>;
}

/** A machine made of namespaces: own processes, files, cgroups and network on this kernel. */
export interface LabHost {
  name: string;
  address(): string;
  /** The host's disk, seen from outside: `/var/lib/rancher` there is `<disk>/var/lib/rancher` here. */
  disk: string;
  running(): boolean;
  /** argv that runs a program on the host. */
  inside(argv: readonly string[]): string[];
  /** Starts a program on the host in the background. */
  start(argv: readonly string[], options?: { stdio?: StdioOptions; env?: Record<string, string> }): HostProcess;
  /** Runs a program on the host to its end; gives its standard output. */
  run(argv: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<string>;
  /** Everything on it is killed at once and /run is lost; the disk stays. */
  powerCut(): Promise<void>;
  /** Starts it again after a power cut. */
  boot(): Promise<void>;
  /** A power cut, an empty disk, and a boot: the same board set up anew. */
  reflash(): Promise<void>;
  remove(): Promise<void>;
}

/** Boots a host of the network. Its disk is made below `dir`. Needs root. */
export async function bootHost(options: { network: LabNetwork; name: string; dir: string }): Promise<LabHost> {
  const { network, name } = options;
  const disk = join(options.dir, name);
  const group = `${network.prefix}-${name}`;
  let init: number | undefined;
  let folders: string[] = [];

  async function boot(): Promise<void> {
    if (init !== undefined) return;
    mkdirSync(disk, { recursive: true });
    folders = makeCgroups(group);
    const script = join(disk, 'boot.sh');
    writeFileSync(script, bootScript({ hostname: name, disk }));
    const log = join(disk, 'boot.log');
    rmSync(join(disk, 'booted'), { force: true });
    const argv = network.inside(name, ['unshare', '-m', '-C', '-u', '-i', '-p', '-f', '--mount-proc', 'bash', script]);
    // The cgroups are entered first: the cgroup namespace begins where its maker is.
    const child = spawn('bash', ['-c', `${enter(folders)} exec "$@" >${log} 2>&1`, 'boot', ...argv], {
      detached: true,
      stdio: 'ignore',
    });
    child.unref();
    const outside = child.pid as number;
    try {
      init = await eventually(`host ${name} boots`, () => bootedInit(disk, outside), 15_000);
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${readFileSync(log, 'utf8').trim().slice(-500)}`);
    }
  }

  const inside = (argv: readonly string[]) => [
    ...['bash', '-c', `${enter(folders)} exec "$@"`, 'enter'],
    ...['nsenter', '-t', String(init), '-n', '-m', '-C', '-u', '-i', '-p', '--', 'env', 'HOME=/root', ...argv],
  ];

  async function powerCut(): Promise<void> {
    if (init === undefined) return;
    const pid = init;
    init = undefined;
    kill(pid);
    await eventually(`host ${name} is off`, () => !exists(pid), 15_000);
  }

  const host: LabHost = {
    name,
    disk,
    inside,
    boot,
    powerCut,
    address: () => network.address(name),
    running: () => init !== undefined && exists(init),
    start(argv, { stdio = 'ignore', env } = {}) {
      const [file = '', ...args] = inside(argv);
      return hostProcess(spawn(file, args, { stdio, env: { ...process.env, ...env } }));
    },
    run: (argv, runOptions) => run(inside(argv), runOptions),
    async reflash() {
      await powerCut();
      removeCgroups(group);
      rmSync(disk, { recursive: true, force: true });
      await boot();
    },
    async remove() {
      await powerCut();
      removeCgroups(group);
      rmSync(disk, { recursive: true, force: true });
    },
  };
  try {
    await boot();
    return host;
  } catch (error) {
    removeCgroups(group);
    throw error;
  }
}

/** nsenter stays between us and the program it forked into the pid namespace; signals to it would end with it. */
function hostProcess(child: ChildProcess): HostProcess {
  const running = () => child.exitCode === null && child.signalCode === null;
  return {
    running,
    ended: new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))),
    signal(name) {
      if (!running()) return;
      const path = `/proc/${child.pid}/task/${child.pid}/children`;
      const inner = existsSync(path) ? Number(readFileSync(path, 'utf8').trim().split(' ')[0]) : 0;
      if (inner > 0) process.kill(inner, name);
      else child.kill(name);
    },
  };
}

function enter(folders: readonly string[]): string {
  return folders.map((folder) => `echo $$ > '${folder.endsWith('/') ? folder : `${folder}/`}cgroup.procs';`).join(' ');
}

/** The pid of the host's process 1: the child of unshare, once the script says it is done. */
function bootedInit(disk: string, outside: number): number | undefined {
  try {
    readFileSync(join(disk, 'booted'));
  } catch {
    return undefined;
  }
  const children = readFileSync(`/proc/${outside}/task/${outside}/children`, 'utf8').trim().split(' ');
  const pid = Number(children[0]);
  if (!pid) return undefined;
  writeFileSync(join(disk, 'init.pid'), String(pid));
  return pid;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // already gone
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
