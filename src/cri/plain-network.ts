import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { PodSandboxConfig, RuntimeService } from './types.ts';

/**
 * The default runtime once more under a name of its own, with a network configuration that ends after `bridge`. Most pods
 * have neither host ports nor bandwidth limits, and `portmap` and `bandwidth` would be started three times each for them
 * to find out: a tenth of what ending a pod costs.
 */
export const PLAIN_HANDLER = 'k3s-plain';

/** The annotations that the bandwidth plugin obeys (kubernetes pkg/util/bandwidth). */
const BANDWIDTH = ['kubernetes.io/ingress-bandwidth', 'kubernetes.io/egress-bandwidth'];

/** Paths of the agent's two network configurations. */
export interface NetworkConfigs {
  conflist: string;
  plain: string;
}

/**
 * The service with pods of the default runtime on {@link PLAIN_HANDLER} wherever that makes no difference to them.
 * `configs`: undefined as long as containerd knows no such handler. Nobody outside learns of it.
 */
export function withPlainNetwork(service: RuntimeService, configs: () => NetworkConfigs | undefined): RuntimeService {
  return {
    ...service,
    async runPodSandbox(config, handler, options) {
      const both = handler === '' ? configs() : undefined;
      const plain = both !== undefined && !wantsMore(config) && (await isInForce(both));
      return service.runPodSandbox(config, plain ? PLAIN_HANDLER : handler, options);
    },
    async status(options) {
      const status = await service.status(options);
      return { ...status, runtimeHandlers: status.runtimeHandlers.filter(({ name }) => name !== PLAIN_HANDLER) };
    },
  };
}

function wantsMore({ portMappings = [], annotations = {} }: PodSandboxConfig): boolean {
  return portMappings.length > 0 || BANDWIDTH.some((name) => annotations[name] !== undefined);
}

/** Another network add-on puts its own configuration before ours, and means all pods. */
async function isInForce({ conflist, plain }: NetworkConfigs): Promise<boolean> {
  const [first, own] = await Promise.all([firstConfig(dirname(conflist)), firstConfig(dirname(plain))]);
  return first === basename(conflist) && own === basename(plain);
}

/** As libcni chooses: by name. */
async function firstConfig(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => [] as string[]);
  return names.filter((name) => /\.(conf|conflist|json)$/.test(name)).sort()[0];
}
