import { spawn } from 'node:child_process';
import { AgentError, abortError } from '../core/index.ts';

export interface ExecOptions {
  /** Written to the command's standard input. */
  input?: string | Uint8Array;
  /** The command is killed after this long; 30 s when left out. */
  timeoutMs?: number;
  signal?: AbortSignal;
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Exit codes that are not errors, besides 0. */
  okCodes?: readonly number[];
  /** Standard output beyond this many bytes is an error; 16 MiB when left out. */
  maxOutput?: number;
  /** Descriptors handed to the child as 3, 4, …: `/proc/self/fd/3` there is exactly what was opened here. */
  extraFds?: readonly number[];
}

export interface ExecResult {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * Runs programs of the host: an argv array, never a shell. Throws AgentError `EXEC_NOT_FOUND` (no such program),
 * `EXEC_TIMEOUT`, `EXEC_OUTPUT` (too much) or `EXEC_FAILED` (exit code not in okCodes; the message holds the first
 * lines of stderr).
 */
export interface Exec {
  run(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
}

export const hostExec: Exec = {
  run(argv, options = {}) {
    const { input, timeoutMs = 30_000, signal, okCodes = [], maxOutput = 16 * 1024 * 1024, extraFds = [] } = options;
    const [file = '', ...args] = argv;
    return new Promise<ExecResult>((resolve, reject) => {
      if (signal?.aborted) return reject(abortError());
      const child = spawn(file, args, {
        stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...extraFds],
        ...(options.env ? { env: { ...process.env, ...options.env } } : {}),
        ...(options.cwd ? { cwd: options.cwd } : {}),
      });
      let failure: Error | undefined;
      const kill = (why: Error) => {
        failure ??= why;
        child.kill('SIGKILL');
      };
      const onAbort = () => kill(abortError());
      signal?.addEventListener('abort', onAbort, { once: true });
      const timer = setTimeout(
        () => kill(new AgentError({ code: 'EXEC_TIMEOUT', message: `${file} did not finish within ${timeoutMs} ms` })),
        timeoutMs,
      );
      const out: Buffer[] = [];
      let size = 0;
      child.stdout?.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxOutput)
          kill(new AgentError({ code: 'EXEC_OUTPUT', message: `${file} printed over ${maxOutput} bytes` }));
        else out.push(chunk);
      });
      let stderr = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        if (stderr.length < 64 * 1024) stderr += chunk.toString();
      });
      child.stdin?.on('error', () => {}); // the child may exit before it has read everything
      const settle = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      child.on('error', (cause: NodeJS.ErrnoException) => {
        settle();
        reject(
          new AgentError({
            code: cause.code === 'ENOENT' ? 'EXEC_NOT_FOUND' : 'EXEC_FAILED',
            message: cause.code === 'ENOENT' ? `the program ${file} is not installed` : `${file} can't be started`,
            cause,
          }),
        );
      });
      child.on('close', (code, killedBy) => {
        settle();
        if (failure) return reject(failure);
        const result = { code: code ?? 128, stdout: Buffer.concat(out).toString(), stderr };
        if (result.code === 0 || okCodes.includes(result.code)) return resolve(result);
        const said = (stderr.trim() || result.stdout.trim()).split('\n').slice(0, 4).join(' | ').slice(0, 600);
        reject(
          new AgentError({
            code: 'EXEC_FAILED',
            message: `${argv.slice(0, 3).join(' ')} failed (${killedBy ?? `exit ${result.code}`})${said ? `: ${said}` : ''}`,
          }),
        );
      });
      if (input !== undefined) child.stdin?.end(input);
    });
  },
};
