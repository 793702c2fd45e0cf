import { AgentError } from '../../core/index.ts';
import { criSchema } from '../proto/cri.ts';
import type {
  CallOptions,
  ContainerConfig,
  ContainerUsage,
  CriContainer,
  CriContainerStatus,
  PodSandbox,
  PodSandboxStatus,
  RuntimeService,
  RuntimeStatus,
  RuntimeVersion,
} from '../types.ts';
import { type Connection, type Method, methodsOf } from './connection.ts';
import { type RawFilesystemUsage, toFilesystemUsage } from './filesystem-usage.ts';

const method = methodsOf('runtime.v1.RuntimeService', criSchema);

const METHODS = {
  version: method('Version', 'VersionRequest', 'VersionResponse'),
  status: method('Status', 'StatusRequest', 'StatusResponse'),
  runPodSandbox: method('RunPodSandbox', 'RunPodSandboxRequest', 'SandboxId'),
  stopPodSandbox: method('StopPodSandbox', 'SandboxId'),
  removePodSandbox: method('RemovePodSandbox', 'SandboxId'),
  podSandboxStatus: method('PodSandboxStatus', 'SandboxId', 'SandboxStatusResponse'),
  listPodSandbox: method('ListPodSandbox', 'ListPodSandboxRequest', 'ListPodSandboxResponse'),
  createContainer: method('CreateContainer', 'CreateContainerRequest', 'ContainerId'),
  startContainer: method('StartContainer', 'ContainerId'),
  stopContainer: method('StopContainer', 'StopContainerRequest'),
  removeContainer: method('RemoveContainer', 'ContainerId'),
  listContainers: method('ListContainers', 'ListContainersRequest', 'ListContainersResponse'),
  containerStatus: method('ContainerStatus', 'ContainerId', 'ContainerStatusResponse'),
  updateContainerResources: method('UpdateContainerResources', 'UpdateResourcesRequest'),
  reopenContainerLog: method('ReopenContainerLog', 'ContainerId'),
  execSync: method('ExecSync', 'ExecSyncRequest', 'ExecSyncResponse'),
  exec: method('Exec', 'ExecRequest', 'Url'),
  attach: method('Attach', 'AttachRequest', 'Url'),
  portForward: method('PortForward', 'PortForwardRequest', 'Url'),
  listContainerStats: method('ListContainerStats', 'ListStatsRequest', 'ListStatsResponse'),
  updateRuntimeConfig: method('UpdateRuntimeConfig', 'UpdateRuntimeConfigRequest'),
} as const;

/** The kubelet gives a sandbox twice its usual time: setting up the network may take long on a slow board. */
const SANDBOX_TIMEOUT_MS = 240_000;
const DEFAULT_TIMEOUT_MS = 120_000;

/** CRI's RuntimeService over a {@link Connection}. */
export function createRuntimeService(connection: Connection): RuntimeService {
  const call = async <T>(m: Method, request: object, options: CallOptions | undefined): Promise<T> =>
    (await connection.unary(m, request, options)) as T;
  const longer = (ms: number, options: CallOptions = {}): CallOptions => ({ timeoutMs: ms, ...options });

  return {
    version: (options) => call<RuntimeVersion>(METHODS.version, { version: 'v1' }, options),
    async status(options) {
      const raw = await call<{ status: Pick<RuntimeStatus, 'conditions'> } & Omit<RuntimeStatus, 'conditions'>>(
        METHODS.status,
        {},
        options,
      );
      return {
        conditions: raw.status.conditions,
        runtimeHandlers: raw.runtimeHandlers,
        ...(raw.features ? { features: raw.features } : {}),
      };
    },
    async runPodSandbox(config, runtimeHandler, options) {
      const request = { config, runtimeHandler };
      const answer = await call<{ podSandboxId: string }>(
        METHODS.runPodSandbox,
        request,
        longer(SANDBOX_TIMEOUT_MS, options),
      );
      return answer.podSandboxId;
    },
    async stopPodSandbox(podSandboxId, options) {
      await call(METHODS.stopPodSandbox, { podSandboxId }, options);
    },
    async removePodSandbox(podSandboxId, options) {
      await call(METHODS.removePodSandbox, { podSandboxId }, options);
    },
    async podSandboxStatus(podSandboxId, options) {
      const { status } = await call<{ status?: PodSandboxStatus }>(METHODS.podSandboxStatus, { podSandboxId }, options);
      return status ?? missing('sandbox', podSandboxId);
    },
    async listPodSandboxes(filter = {}, options) {
      return (await call<{ items: PodSandbox[] }>(METHODS.listPodSandbox, { filter }, options)).items;
    },
    async createContainer(podSandboxId, config, sandboxConfig, options) {
      const request = { podSandboxId, config: withSignal(config), sandboxConfig };
      return (await call<{ containerId: string }>(METHODS.createContainer, request, options)).containerId;
    },
    async startContainer(containerId, options) {
      await call(METHODS.startContainer, { containerId }, options);
    },
    async stopContainer(containerId, timeoutSeconds, options) {
      const request = { containerId, timeout: timeoutSeconds };
      await call(METHODS.stopContainer, request, longer(DEFAULT_TIMEOUT_MS + timeoutSeconds * 1_000, options));
    },
    async removeContainer(containerId, options) {
      await call(METHODS.removeContainer, { containerId }, options);
    },
    async listContainers(filter = {}, options) {
      return (await call<{ containers: CriContainer[] }>(METHODS.listContainers, { filter }, options)).containers;
    },
    async containerStatus(containerId, options) {
      const { status } = await call<{ status?: CriContainerStatus }>(METHODS.containerStatus, { containerId }, options);
      return status ?? missing('container', containerId);
    },
    async updateContainerResources(containerId, linux, options) {
      await call(METHODS.updateContainerResources, { containerId, linux }, options);
    },
    async reopenContainerLog(containerId, options) {
      await call(METHODS.reopenContainerLog, { containerId }, options);
    },
    execSync(containerId, cmd, timeoutSeconds, options) {
      // The runtime enforces the command's own time limit; without one the caller's signal is the only end.
      const limit = timeoutSeconds > 0 ? DEFAULT_TIMEOUT_MS + timeoutSeconds * 1_000 : Number.POSITIVE_INFINITY;
      return call(METHODS.execSync, { containerId, cmd, timeout: timeoutSeconds }, longer(limit, options));
    },
    async exec(request, options) {
      return (await call<{ url: string }>(METHODS.exec, request, options)).url;
    },
    async attach(request, options) {
      return (await call<{ url: string }>(METHODS.attach, request, options)).url;
    },
    async portForward(request, options) {
      return (await call<{ url: string }>(METHODS.portForward, request, options)).url;
    },
    async listContainerStats(filter = {}, options) {
      const { stats } = await call<{ stats: RawStats[] }>(METHODS.listContainerStats, { filter }, options);
      return stats.map(toUsage);
    },
    async updateRuntimeConfig(podCidr, options) {
      await call(METHODS.updateRuntimeConfig, { runtimeConfig: { networkConfig: { podCidr } } }, options);
    },
  };
}

type RawStats = Pick<ContainerUsage, 'cpu' | 'memory'> & {
  attributes: Pick<ContainerUsage, 'id' | 'metadata' | 'labels'>;
  writableLayer?: RawFilesystemUsage;
};

function toUsage({ attributes, cpu, memory, writableLayer }: RawStats): ContainerUsage {
  return {
    id: attributes.id,
    metadata: attributes.metadata,
    labels: attributes.labels,
    ...(cpu ? { cpu } : {}),
    ...(memory ? { memory } : {}),
    ...(writableLayer ? { writableLayer: toFilesystemUsage(writableLayer) } : {}),
  };
}

/** The Pod API writes SIGRTMIN+3, CRI's enum SIGRTMINPLUS3. */
function withSignal(config: ContainerConfig): ContainerConfig {
  if (config.stopSignal === undefined) return config;
  return { ...config, stopSignal: config.stopSignal.replace('+', 'PLUS').replace('-', 'MINUS') };
}

function missing(what: string, id: string): never {
  throw new AgentError({ code: 'CRI_NOT_FOUND', message: `the runtime knows no ${what} ${id}` });
}
