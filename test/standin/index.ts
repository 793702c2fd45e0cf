import { mkdirSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { hostPort } from '../../src/core/index.ts';
import type { ApiContext } from './api/context.ts';
import { createAuthorizer } from './auth/authorize.ts';
import { createTokenIssuer } from './auth/service-account-tokens.ts';
import { bootstrapObjects } from './bootstrap.ts';
import { createEventWriter, runControllers } from './controllers/controller.ts';
import { CONTROLLERS } from './controllers/index.ts';
import { createFaultGate, type Faults } from './faults.ts';
import { kubeconfig } from './kubeconfig.ts';
import { createKubeletProxy } from './kubelet/proxy.ts';
import { type StandinOptions, settingsOf } from './options.ts';
import { openAuthority } from './pki/authority.ts';
import { createServingCertificate } from './pki/serving.ts';
import { createRegistry, type Registry } from './registry/registry.ts';
import { createRemotedialerServer, type RemotedialerServer } from './remotedialer.ts';
import { createHttpsServer } from './server.ts';
import { loadState, saveState } from './state-file.ts';
import { Store } from './storage.ts';
import { createAuthenticators } from './supervisor/authenticate.ts';
import { createNodePasswords } from './supervisor/node-passwords.ts';
import { createSupervisor } from './supervisor/supervisor.ts';

export type { RequestFault } from './faults.ts';
export type { StandinOptions } from './options.ts';

/** A running stand-in for a k3s server. */
export interface Standin {
  /** `https://host:port`, as agents are given it. */
  url: string;
  port: number;
  /** The full token (`K10…::server:…`) and the agents' one. */
  token: string;
  agentToken: string;
  /** Files that hold them, as in k3s's data directory. */
  tokenFile: string;
  agentTokenFile: string;
  /** The administrator's kubeconfig: text and file. */
  kubeconfig: string;
  kubeconfigFile: string;
  registry: Registry;
  tunnels: RemotedialerServer;
  faults: Faults & {
    /** Closes the tunnels of all nodes, or of one. */
    cutTunnels(node?: string): void;
    /** Resets every connection there is, watches included. */
    cutConnections(): void;
    /** Forgets the history: resumed watches get 410. */
    truncateHistory(): void;
  };
  /** Ends all connections and saves the objects, so that the next start goes on from there. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a server; it answers when this resolves. */
export async function startStandin(options: StandinOptions): Promise<Standin> {
  const settings = settingsOf(options);
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  const authority = openAuthority(settings.dataDir, settings.clockOffsetMs);
  const stateFile = join(settings.dataDir, 'state.json');
  const store = new Store(loadState(stateFile));
  const registry = createRegistry({ store, serviceCidr: settings.serviceCidr });
  const tokens = createTokenIssuer({ registry, key: authority.serviceKey });
  const authenticators = createAuthenticators({ settings, store, tokens });
  const old = settings.minor < 22;
  const tunnels = createRemotedialerServer({ old, pingWaitMs: old ? 10_000 : 60_000 });
  const faults = createFaultGate();
  const apiServer = authority.clientCertificate({ commonName: 'system:apiserver', organizations: ['system:masters'] });
  const api: ApiContext = {
    registry,
    tokens,
    authorize: createAuthorizer({ store, nodeSelectors: settings.minor >= 32 }),
    kubelets: createKubeletProxy({
      registry,
      dial: (node, port) => tunnels.dial(node, 'tcp', `127.0.0.1:${port}`),
      credentials: { ...apiServer, ca: authority.serverCa.cert },
    }),
    watches: { bookmarkMs: settings.bookmarkMs, open: new Set<ServerResponse>() },
    version: settings.version,
  };
  const server = createHttpsServer({
    authority,
    serving: createServingCertificate(authority, settings),
    supervisor: createSupervisor({
      settings,
      authority,
      registry,
      authenticators,
      passwords: createNodePasswords({ registry, old }),
      ready: () => faults.ready,
    }),
    authenticators,
    api,
    tunnels,
    faults,
    log: settings.log,
  });
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(settings.listen.port, settings.listen.host, resolve);
  });
  settings.port = (server.address() as AddressInfo).port;
  bootstrapObjects(registry, settings);
  const context = { registry, settings, authority, event: createEventWriter(registry) };
  const stopControllers = runControllers(context, CONTROLLERS);

  const url = `https://${hostPort(settings.advertise, settings.port)}`;
  const files = writeFiles(settings.dataDir, {
    token: `K10${authority.caHash}::server:${settings.token}`,
    agentToken: `K10${authority.caHash}::node:${settings.agentToken}`,
    kubeconfig: kubeconfig({
      server: url,
      ca: authority.serverCa.cert,
      ...authority.clientCertificate({ commonName: 'system:admin', organizations: ['system:masters'] }),
    }),
  });
  const cutConnections = () => {
    for (const socket of sockets) socket.destroy();
  };
  let stopped: Promise<void> | undefined;
  return {
    url,
    port: settings.port,
    ...files,
    registry,
    tunnels,
    faults: {
      ...faults,
      cutTunnels: (node) => tunnels.closeAll(node),
      cutConnections,
      truncateHistory: () => store.truncateHistory(),
    },
    stop() {
      stopped ??= (async () => {
        stopControllers();
        faults.clear();
        const closed = new Promise((resolve) => server.close(resolve));
        tunnels.closeAll();
        cutConnections();
        await closed;
        saveState(stateFile, store.snapshot());
      })();
      return stopped;
    },
  };
}

function writeFiles(dir: string, texts: { token: string; agentToken: string; kubeconfig: string }) {
  const [tokenFile, agentTokenFile] = [join(dir, 'token'), join(dir, 'agent-token')];
  const kubeconfigFile = join(dir, 'kubeconfig.yaml');
  writeFileSync(tokenFile, `${texts.token}\n`, { mode: 0o600 });
  writeFileSync(agentTokenFile, `${texts.agentToken}\n`, { mode: 0o600 });
  writeFileSync(kubeconfigFile, texts.kubeconfig, { mode: 0o600 });
  return { ...texts, tokenFile, agentTokenFile, kubeconfigFile };
}
