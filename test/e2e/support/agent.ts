import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { HostProcess, LabHost } from '../../lab/index.ts';

const ROOT = new URL('../../../', import.meta.url).pathname;

/** The agent under test on one host. */
export interface LabAgent {
  start(): void;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL to the agent alone. */
  kill(): Promise<void>;
  running(): boolean;
  log(): string;
}

export interface LabAgentOptions {
  host: LabHost;
  server: string;
  token: string;
  args?: readonly string[];
  /** A folder of image archives to have at hand. */
  images: string;
}

export function createLabAgent(options: LabAgentOptions): LabAgent {
  const { host } = options;
  const logFile = join(host.disk, 'agent.log');
  let child: HostProcess | undefined;
  const argv = [...agentCommand(), '--server', options.server, '--token', options.token, '--node-name', host.name];

  async function end(signal: NodeJS.Signals): Promise<void> {
    child?.signal(signal);
    await child?.ended;
  }

  return {
    start() {
      const images = join(host.disk, 'var/lib/rancher/k3s/agent/images');
      if (!existsSync(images)) {
        mkdirSync(images, { recursive: true });
        cpSync(options.images, images, { recursive: true });
      }
      const log = openSync(logFile, 'a');
      const started = host.start([...argv, ...(options.args ?? [])], { stdio: ['ignore', log, log] });
      child = started;
      void started.ended.then((how) => writeSync(log, `(the agent ended: ${how})\n`));
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    running: () => child?.running() ?? false,
    log: () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''),
  };
}

/** The built executable if it is newer than the sources, else the sources; K3S_AGENT_BIN overrules both. */
export function agentCommand(): string[] {
  const named = process.env.K3S_AGENT_BIN;
  if (named) return [named];
  const built = join(ROOT, 'dist', `k3s-agent-${process.arch}`);
  if (existsSync(built) && statSync(built).mtimeMs > newest(join(ROOT, 'src'))) return [built];
  return [process.execPath, join(ROOT, 'src/main.ts')];
}

function newest(dir: string): number {
  return Math.max(
    0,
    ...readdirSync(dir, { withFileTypes: true }).map((entry) => {
      const path = join(dir, entry.name);
      return entry.isDirectory() ? newest(path) : statSync(path).mtimeMs;
    }),
  );
}
