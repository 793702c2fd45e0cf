import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** Runs a program and returns its standard output; the error of a failed one holds what it printed. */
export async function run(
  argv: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<string> {
  const [file = '', ...args] = argv;
  const running = execute(file, args, {
    timeout: options.timeoutMs ?? 60_000,
    maxBuffer: 64 * 1024 * 1024,
    killSignal: 'SIGKILL',
  });
  running.child.stdin?.on('error', () => {});
  running.child.stdin?.end(options.input ?? '');
  try {
    return (await running).stdout;
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new Error(`${argv.slice(0, 6).join(' ')}: ${stderr.trim() || message}`);
  }
}

/** The same, with failure as an answer. */
export async function tryRun(
  argv: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<string | undefined> {
  return run(argv, options).catch(() => undefined);
}

/** Waits until `ready` answers something; throws with `what` after the time. */
export async function eventually<T>(
  what: string,
  ready: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 30_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (let pause = 20; ; pause = Math.min(pause * 1.5, 500)) {
    try {
      const value = await ready();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms${last ? ` (${String(last)})` : ''}`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
