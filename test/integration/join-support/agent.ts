import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Logger, silentLogger, systemClock } from '../../../src/core/index.ts';
import {
  createJoin,
  type Joined,
  type JoinFailure,
  type JoinOptions,
  type JoinProgress,
  joinPaths,
} from '../../../src/join/index.ts';

export interface Board {
  options: JoinOptions;
  /** Everything that was logged or reported, as one text. */
  said(): string;
  /** Joins; rejects after 20 s. */
  join(change?: Partial<JoinOptions>): Promise<Joined>;
  /** The first failure that is reported. */
  failure(change?: Partial<JoinOptions>): Promise<JoinFailure>;
}

/** A board with an empty disk of its own that wants to join `server`. */
export async function board(t: TestContext, server: string, change: Partial<JoinOptions> = {}): Promise<Board> {
  const dir = await mkdtemp(join(tmpdir(), 'kat-join-'));
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    await rm(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
  });
  const lines: string[] = [];
  const note = (level: string) => (message: string, fields?: object) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  const log: Logger = {
    ...silentLogger,
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
  };
  const options: JoinOptions = {
    server,
    dialUrl: server,
    token: undefined,
    tokenFile: undefined,
    paths: joinPaths(`${dir}/data`, `${dir}/node`),
    nodeName: 'n1',
    withNodeId: false,
    nodeIps: ['10.9.8.7'],
    nodeExternalIps: [],
    flannelIface: undefined,
    resolvConf: '/etc/resolv.conf',
    apiServerUrl: () => server,
    userAgent: 'k3s-agent/test',
    log,
    clock: systemClock,
    random: Math.random,
    ...change,
  };
  const record = (progress: JoinProgress) => {
    if (progress.phase === 'failed') lines.push(`${progress.failure.message} ${progress.failure.remedy}`);
  };
  return {
    options,
    said: () => lines.join('\n'),
    async join(more = {}) {
      const all = { ...options, onProgress: record, ...more };
      const joined = await createJoin(all).run(AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)]));
      await joined.persisted;
      return joined;
    },
    failure(more = {}) {
      return new Promise((resolve, reject) => {
        const enough = new AbortController();
        const onProgress = (progress: JoinProgress) => {
          record(progress);
          if (progress.phase !== 'failed') return;
          resolve(progress.failure);
          enough.abort();
        };
        createJoin({ ...options, ...more, onProgress })
          .run(AbortSignal.any([stop.signal, enough.signal, AbortSignal.timeout(30_000)]))
          .then(() => reject(new Error('it joined')), reject);
      });
    },
  };
}
