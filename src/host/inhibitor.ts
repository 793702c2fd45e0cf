import { spawn } from 'node:child_process';
import { AgentError, describeError } from '../core/index.ts';

export interface Inhibitor {
  /** Lets the system go down; may be called twice. */
  release(): void;
  /** Resolves when it no longer holds, released or not. */
  readonly ended: Promise<void>;
}

const ARGV = [
  'systemd-inhibit',
  '--what=shutdown',
  '--mode=delay',
  '--who=kubelet',
  '--why=Kubelet needs time to handle node shutdown',
  'cat',
] as const;
const PATIENCE_MS = 10_000;

/**
 * Delays the shutdown of the system until it is released (systemd.io, "Inhibitor Locks"). The lock is a descriptor that
 * only a process of its own can hold for us; it ends with our end of its pipe, so also with us. Throws `INHIBIT_FAILED`.
 */
export async function inhibitShutdown(argv: readonly string[] = ARGV): Promise<Inhibitor> {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
    child.on('error', () => resolve());
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 1_000) said += chunk.toString();
  });
  child.stdin.on('error', () => {});
  // What comes back has passed the program that runs only under the lock.
  child.stdin.write('\n');
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('error', (error) => reject(error));
      child.once('close', (code) => reject(new Error(said.trim().slice(0, 300) || `exit ${code}`)));
      setTimeout(() => reject(new Error('no answer')), PATIENCE_MS).unref();
    });
  } catch (error) {
    child.kill('SIGKILL');
    throw new AgentError({ code: 'INHIBIT_FAILED', message: `${file}: ${describeError(error)}`, cause: error });
  }
  child.unref();
  return { release: () => child.stdin.destroy(), ended };
}
