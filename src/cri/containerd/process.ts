import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Clock, systemClock } from '../../core/index.ts';

/** A process that can't be mistaken for a later one with the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to its start. */
  readonly startTicks: string;
}

export interface Spawned extends ProcessId {
  /** Resolves with what ended it (`exit 1`, `SIGKILL`). */
  readonly exited: Promise<string>;
}

export interface SpawnOptions {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/**
 * Starts a program that outlives this process: a session of its own (so that no terminal's signal reaches it), and its
 * output straight into a file opened for appending, since a pipe would kill it by SIGPIPE once the agent is gone.
 * Under systemd it stays in the unit's cgroup, where `KillMode=process` leaves it alone when the agent stops; moving it
 * elsewhere would be writing into cgroups that are systemd's.
 */
export function spawnDetached({ argv, env, logFile }: SpawnOptions): Promise<Spawned> {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'a', 0o600);
  try {
    const [file = '', ...args] = argv;
    const child = spawn(file, args, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' });
    const exited = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
      child.once('error', (error) => resolve(error.message));
    });
    child.unref();
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('spawn', () => {
        const pid = child.pid as number;
        startTicksOf(pid).then((startTicks) => resolve({ pid, startTicks: startTicks ?? '', exited }), reject);
      });
    });
  } finally {
    closeSync(log);
  }
}

/** Undefined if there is no such process, or only its zombie. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The name in brackets may hold anything, so count from the last bracket: state is field 3, the start field 22.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

export async function isAlive({ pid, startTicks }: ProcessId): Promise<boolean> {
  return pid > 0 && startTicks !== '' && (await startTicksOf(pid)) === startTicks;
}

/** SIGTERM, then SIGKILL after `graceMs`; resolves when the process is gone. */
export async function terminate(id: ProcessId, graceMs: number, clock: Clock = systemClock): Promise<void> {
  const end = clock.monotonic() + graceMs;
  let signal: NodeJS.Signals = 'SIGTERM';
  while (await isAlive(id)) {
    try {
      if (signal !== 'SIGCONT') process.kill(id.pid, signal);
    } catch {
      return; // gone between the look and the signal
    }
    signal = clock.monotonic() > end ? 'SIGKILL' : 'SIGCONT';
    await clock.sleep(10);
  }
}

/**
 * Processes whose arguments name this file, in our mount namespace (in another one the same path is another file): a
 * containerd of ours whose record was lost.
 */
export async function findByArgument(argument: string): Promise<ProcessId[]> {
  const ours = await readlink('/proc/self/ns/mnt').catch(() => '');
  const found: ProcessId[] = [];
  for (const name of await readdir('/proc').catch(() => [])) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (!argv[0]?.endsWith('containerd') || !argv.includes(argument)) continue;
    if ((await readlink(`/proc/${pid}/ns/mnt`).catch(() => undefined)) !== ours) continue;
    const startTicks = await startTicksOf(pid);
    if (startTicks !== undefined) found.push({ pid, startTicks });
  }
  return found;
}
