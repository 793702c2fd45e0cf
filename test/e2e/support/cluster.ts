import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { buildImages, createLab, type Lab, type LabHost, labUnavailable, run } from '../../lab/index.ts';
import { createLabAgent, type LabAgent } from './agent.ts';
import { type AdminApi, createAdminApi } from './api.ts';
import { createLabServer, type LabServer, type LabServerOptions } from './server.ts';

/** A lab with a running server. */
export interface Cluster {
  lab: Lab;
  server: LabServer;
  api: AdminApi;
  /** Minor version of the server: 36 for v1.36. */
  minor: number;
  /** Boots a host if need be and makes an agent for it, not started. */
  agent(
    name: string,
    options?: { token?: string; server?: string; args?: readonly string[] },
  ): Promise<{ host: LabHost; agent: LabAgent }>;
  /** Runs kubectl in the server's network. */
  kubectl(...args: string[]): Promise<string>;
  /** argv of kubectl there, for what runs in the background. */
  kubectlArgv(...args: string[]): string[];
  /** The host of an agent that was made. */
  host(name: string): LabHost;
  /** The last lines of all logs. */
  logs(): string;
  remove(): Promise<void>;
}

/** Why the end-to-end tests can't run here; undefined if they can. */
export function clusterUnavailable(): string | undefined {
  const missing = ['kubectl', 'containerd', 'runc'].find(
    (program) => !['/usr/bin', '/usr/sbin', '/usr/local/bin', '/bin'].some((dir) => existsSync(join(dir, program))),
  );
  return labUnavailable() ?? (missing ? `${missing} is not installed` : undefined);
}

export async function createCluster(hosts: number, options: LabServerOptions = {}): Promise<Cluster> {
  const lab = await createLab(hosts);
  const agents = new Map<string, LabAgent>();
  const machines = new Map<string, LabHost>();
  let server: LabServer | undefined;
  let api: AdminApi | undefined;
  const remove = async () => {
    api?.close();
    for (const agent of agents.values()) await agent.kill();
    await server?.remove();
    await lab.remove();
  };
  try {
    const images = join(lab.dir, 'images');
    buildImages(images);
    server = createLabServer(lab, options);
    await server.start();
    api = createAdminApi(server);
    let minor = 0;
    if (!options.silent) {
      const path = '/api/v1/namespaces/default/serviceaccounts/default';
      await api.until('the default service account exists', path, () => true);
      minor = Number.parseInt((await api.get<{ minor: string }>('/version')).minor, 10);
    }
    const running = server;
    const kubectlArgv = (...args: string[]) =>
      lab.network.inside('srv', [
        'kubectl',
        '--cache-dir',
        join(lab.dir, 'kube-cache'),
        '--kubeconfig',
        running.kubeconfig,
        ...args,
      ]);
    return {
      lab,
      server: running,
      api,
      minor,
      kubectlArgv,
      kubectl: (...args) => run(kubectlArgv(...args)),
      remove,
      async agent(name, agentOptions = {}) {
        const host = machines.get(name) ?? (await lab.boot(name));
        machines.set(name, host);
        await agents.get(name)?.kill();
        const agent = createLabAgent({
          host,
          images,
          server: agentOptions.server ?? running.url,
          token: agentOptions.token ?? running.token(),
          args: agentOptions.args ?? [],
        });
        agents.set(name, agent);
        return { host, agent };
      },
      logs: () =>
        [...agents].map(([name, agent]) => `== agent ${name}\n${tail(agent.log())}\n`).join('') +
        `== server\n${tail(running.log())}`,
      host(name) {
        const host = machines.get(name);
        if (!host) throw new Error(`no host ${name}`);
        return host;
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** A test body that shows the logs of the cluster when it fails. */
export function watched(cluster: () => Cluster | undefined, body: () => Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await body();
    } catch (error) {
      console.log(cluster()?.logs() ?? 'there is no cluster');
      throw error;
    }
  };
}

function tail(text: string): string {
  return text.split('\n').slice(-40).join('\n');
}
