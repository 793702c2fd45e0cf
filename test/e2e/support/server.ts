import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, type Lab } from '../../lab/index.ts';

const STANDIN = new URL('../../standin/main.ts', import.meta.url).pathname;
const RELAY = new URL('../../lab/relay.ts', import.meta.url).pathname;
export const PASSWORD = 'e2e-cluster-password';

/** The server of a lab: the stand-in, or the k3s binary that K3S_SERVER_BIN names. */
export interface LabServer {
  kind: 'stand-in' | 'k3s';
  url: string;
  /** `K10<hash>::server:<password>` */
  token(): string;
  kubeconfig: string;
  /** The unix socket by which the tests reach it. */
  socketPath: string;
  start(): Promise<void>;
  /** Ends it in order; `start` brings it back with all its objects. */
  stop(): Promise<void>;
  remove(): Promise<void>;
  log(): string;
}

export interface LabServerOptions {
  /** More arguments for the stand-in alone. */
  standinArgs?: readonly string[];
  /** The tests do not talk to it themselves (they could not check its certificate). */
  silent?: boolean;
}

export function createLabServer(lab: Lab, options: LabServerOptions = {}): LabServer {
  const binary = process.env.K3S_SERVER_BIN;
  const dir = join(lab.dir, 'server');
  const address = lab.network.address('srv');
  const kubeconfig = join(lab.dir, 'kubeconfig.yaml');
  const socketPath = join(lab.dir, 'api.sock');
  const logFile = join(lab.dir, 'server.log');
  let server: ChildProcess | undefined;
  let relay: ChildProcess | undefined;

  const argv = binary
    ? [binary, 'server', '--data-dir', dir, '--token', PASSWORD, '--node-ip', address, '--advertise-address', address]
        .concat(['--disable-agent', '--write-kubeconfig', `${kubeconfig}.raw`])
        .concat(['--disable', 'traefik,servicelb,metrics-server,local-storage,coredns,runtimes'])
    : [
        process.execPath,
        STANDIN,
        '--listen',
        '0.0.0.0:6443',
        '--advertise',
        address,
        '--data',
        dir,
        '--token',
        PASSWORD,
      ].concat(options.standinArgs ?? []);
  const rawKubeconfig = binary ? `${kubeconfig}.raw` : join(dir, 'kubeconfig.yaml');

  function run(command: readonly string[]): ChildProcess {
    const log = openSync(logFile, 'a');
    const [file = '', ...args] = lab.network.inside('srv', command);
    // k3s looks for its CNI plugins on PATH, also where it runs no agent.
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/lib/cni` };
    return spawn(file, args, { stdio: ['ignore', log, log], env });
  }

  return {
    kind: binary ? 'k3s' : 'stand-in',
    url: `https://${address}:6443`,
    kubeconfig,
    socketPath,
    token: () => readFileSync(binary ? join(dir, 'server', 'token') : join(dir, 'token'), 'utf8').trim(),
    log: () => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''),
    async start() {
      server = run(argv);
      await eventually('the server writes its kubeconfig', () => existsSync(rawKubeconfig), 40_000).catch((error) => {
        throw new Error(`${(error as Error).message}\n${readFileSync(logFile, 'utf8').slice(-2000)}`);
      });
      if (!existsSync(kubeconfig)) {
        copyFileSync(rawKubeconfig, kubeconfig);
        writeFileSync(kubeconfig, readFileSync(kubeconfig, 'utf8').replace('127.0.0.1', address), { mode: 0o600 });
      }
      if (relay === undefined) {
        relay = run([process.execPath, RELAY, socketPath, address, '6443']);
        await eventually('the relay listens', () => existsSync(socketPath));
      }
    },
    async stop() {
      await end(server);
      server = undefined;
    },
    async remove() {
      await end(relay);
      await end(server);
    },
  };
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(force);
}
