import { statSync } from 'node:fs';
import {
  type Clock,
  type Component,
  describeError,
  errorCode,
  isAbort,
  type Logger,
  sayOnce,
} from '../../core/index.ts';
import type { RuntimeService } from '../../cri/types.ts';
import { rotateLog } from './rotate.ts';

/** KubeletConfiguration's containerLog… fields. */
export interface LogRotationPolicy {
  /** Bytes from which on a log is put aside; negative: never. 10 MiB when left out. */
  maxSize?: number;
  /** Files of one container at most, at least 2; 5 when left out. */
  maxFiles?: number;
  /** Rotations at once; 1 when left out. */
  maxWorkers?: number;
  /** Between two looks, milliseconds; 10 s when left out. */
  monitorIntervalMs?: number;
}

export interface RunningLog {
  containerId: string;
  path: string;
}

export interface LogRotatorOptions {
  policy?: LogRotationPolicy;
  runtime: Pick<RuntimeService, 'reopenContainerLog'>;
  /** The logs of all running containers; none while the runtime is not known. */
  running(): Iterable<RunningLog>;
  clock: Clock;
  log: Logger;
}

const DEFAULTS: Required<LogRotationPolicy> = {
  maxSize: 10 * 1024 * 1024,
  maxFiles: 5,
  maxWorkers: 1,
  monitorIntervalMs: 10_000,
};

/**
 * Keeps container logs within bounds. It looks at the sizes on its period: inotify would wake the agent at each line that
 * any container prints, while a hundred stat(2) of files that are open anyway take a quarter of a millisecond and touch
 * no disk. The runtime is asked for nothing before a log is full.
 */
export class LogRotator implements Component {
  readonly #options: LogRotatorOptions;
  readonly #policy: Required<LogRotationPolicy>;
  readonly #abort = new AbortController();
  readonly #once = sayOnce();
  #cancel: () => void = () => {};
  #round: Promise<void> = Promise.resolve();

  constructor(options: LogRotatorOptions) {
    this.#options = options;
    this.#policy = { ...DEFAULTS, ...options.policy };
  }

  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    if (this.#policy.maxSize >= 0) this.#arm();
  }

  async stop(): Promise<void> {
    this.#cancel();
    this.#abort.abort();
    await this.#round;
  }

  #arm(): void {
    this.#cancel = this.#options.clock.after(this.#policy.monitorIntervalMs, () => {
      this.#round = this.look().finally(() => {
        if (!this.#abort.signal.aborted) this.#arm();
      });
    });
  }

  /** One look at all logs. Never rejects. */
  async look(): Promise<void> {
    const due: RunningLog[] = [];
    for (const log of this.#options.running()) if (log.path !== '' && this.#isDue(log.path)) due.push(log);
    const lane = async () => {
      for (let log = due.pop(); log !== undefined && !this.#abort.signal.aborted; log = due.pop())
        await this.#settle(log);
    };
    await Promise.all(Array.from({ length: Math.max(1, this.#policy.maxWorkers) }, lane));
  }

  /** Too big, or gone: the agent died between putting it aside and having it opened anew. */
  #isDue(path: string): boolean {
    try {
      const size = statSync(path, { throwIfNoEntry: false })?.size;
      return size === undefined || (size >= this.#policy.maxSize && size > 0);
    } catch {
      return false;
    }
  }

  async #settle({ containerId, path }: RunningLog): Promise<void> {
    const { runtime, clock } = this.#options;
    const { signal } = this.#abort;
    const reopen = () => runtime.reopenContainerLog(containerId, { signal, timeoutMs: 10_000 });
    try {
      if (statSync(path, { throwIfNoEntry: false }) === undefined) await reopen();
      else
        await rotateLog({
          path,
          maxFiles: this.#policy.maxFiles,
          reopen,
          now: clock.now(),
          signal,
          unpacked: (error) => this.#complain(path, 'a rotated log could not be packed', error),
        });
    } catch (error) {
      if (isAbort(error) || errorCode(error) === 'CRI_NOT_FOUND') return;
      this.#complain(path, 'a container log could not be rotated', error);
    }
  }

  /** Once for each fault of a log: a full disk would else fill the journal too. */
  #complain(path: string, what: string, error: unknown): void {
    const why = describeError(error);
    if (this.#once.changed(path, why)) this.#options.log.warn(what, { path, error: why });
  }
}
