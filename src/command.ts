import { runAgent, runStatus, VERSION } from './agent/index.ts';
import { helpText, loadConfig } from './config/index.ts';
import { describeError } from './core/index.ts';
import { createLogger } from './host/index.ts';

/** Runs what the arguments ask for. Exit codes: 0 stopped in order, 1 failed or not healthy, 2 wrong use, 3 `status` found no agent. */
export async function command(argv: readonly string[]): Promise<number> {
  const loaded = await loadConfig({ argv, env: process.env });
  const print = (text: string) => void process.stdout.write(text);
  switch (loaded.command) {
    case 'help':
      print(helpText());
      return 0;
    case 'version':
      print(`k3s-agent version ${VERSION}\nnode ${process.version}\n`);
      return 0;
    case 'status':
      return runStatus({ json: loaded.json, dataDir: loaded.config.dataDir, print, now: Date.now() });
    case 'agent': {
      process.title = 'k3s-agent'; // the arguments, the token among them, must not stay visible to every user of the host
      const style = process.env.JOURNAL_STREAM ? 'journal' : 'text';
      const log = createLogger({ debug: loaded.config.debug || loaded.config.verbosity > 0, style });
      const stop = new AbortController();
      for (const name of ['SIGTERM', 'SIGINT'] as const)
        process.on(name, () => {
          if (stop.signal.aborted) process.exit(1);
          stop.abort();
        });
      process.on('uncaughtException', (error) => {
        log.error('the agent ends by a fault of its own; systemd starts it again, containers go on', {
          error: describeError(error),
          stack: stackOf(error),
        });
        process.exit(1);
      });
      // A fault nobody foresaw belongs to one task; the pods of all others must not pay for it with a restart.
      process.on('unhandledRejection', (error) =>
        log.error('an unexpected fault', { error: describeError(error), stack: stackOf(error) }),
      );
      await runAgent({ loaded, log, signal: stop.signal });
      return 0;
    }
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? '').split('\n').slice(1, 4).join(' | ') : '';
}
