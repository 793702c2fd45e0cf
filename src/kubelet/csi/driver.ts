import { AgentError } from '../../core/index.ts';
import { createConnection, goStatus, type Method, methodsOf } from '../../grpc/index.ts';
import {
  csiSchema,
  type ExpandRequest,
  type NodeCapability,
  type NodeInfo,
  type PublishRequest,
  type StageRequest,
} from './messages.ts';

/**
 * The Node service of one driver. Failures are AgentErrors `CSI_<gRPC status>` with Go's wording; see
 * {@link isFinal}. Nothing but the driver's own answer is kept: capabilities, until it registers anew.
 */
export interface Driver {
  readonly name: string;
  readonly endpoint: string;
  info(signal: AbortSignal): Promise<NodeInfo>;
  can(capability: NodeCapability, signal: AbortSignal): Promise<boolean>;
  stage(request: StageRequest, signal: AbortSignal): Promise<void>;
  unstage(request: { volumeId: string; stagingPath: string }, signal: AbortSignal): Promise<void>;
  publish(request: PublishRequest, signal: AbortSignal): Promise<void>;
  unpublish(request: { volumeId: string; targetPath: string }, signal: AbortSignal): Promise<void>;
  /** Bytes the volume has now. */
  expand(request: ExpandRequest, signal: AbortSignal): Promise<number>;
  close(): void;
}

/** kubelet pkg/volume/csi: csiTimeout. */
const TIMEOUT_MS = 120_000;
const INFO_TIMEOUT_MS = 60_000;

const method = methodsOf('csi.v1.Node', csiSchema);

const METHODS = {
  info: method('NodeGetInfo', 'Empty', 'NodeInfo'),
  capabilities: method('NodeGetCapabilities', 'Empty', 'Capabilities'),
  stage: method('NodeStageVolume', 'StageRequest'),
  unstage: method('NodeUnstageVolume', 'UnstageRequest'),
  publish: method('NodePublishVolume', 'PublishRequest'),
  unpublish: method('NodeUnpublishVolume', 'UnpublishRequest'),
  expand: method('NodeExpandVolume', 'ExpandRequest', 'ExpandResponse'),
} as const;

export function createDriver(name: string, endpoint: string): Driver {
  const connection = createConnection({ socket: endpoint, failure });
  const call = (m: Method, request: object, signal: AbortSignal, timeoutMs = TIMEOUT_MS) =>
    connection.unary(m, request, { signal, timeoutMs });
  let capabilities: Set<string> | undefined;

  return {
    name,
    endpoint,
    info: async (signal) => (await call(METHODS.info, {}, signal, INFO_TIMEOUT_MS)) as NodeInfo,
    async can(capability, signal) {
      if (capabilities === undefined) {
        const answer = (await call(METHODS.capabilities, {}, signal)) as {
          capabilities: { rpc?: { type: string } }[];
        };
        capabilities = new Set(answer.capabilities.map((c) => c.rpc?.type ?? ''));
      }
      return capabilities.has(capability);
    },
    async stage(request, signal) {
      await call(METHODS.stage, request, signal);
    },
    async unstage(request, signal) {
      await call(METHODS.unstage, request, signal);
    },
    async publish(request, signal) {
      await call(METHODS.publish, request, signal);
    },
    async unpublish(request, signal) {
      await call(METHODS.unpublish, request, signal);
    },
    async expand(request, signal) {
      return ((await call(METHODS.expand, request, signal)) as { capacityBytes: number }).capacityBytes;
    },
    close: () => connection.close(),
  };
}

/** True if the driver has certainly not begun or left nothing (kubelet csi_client.go, isFinalError). */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof AgentError) || !error.code.startsWith('CSI_')) return false;
  return !['CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'ABORTED'].includes(
    error.code.slice('CSI_'.length),
  );
}

function failure(status: string, message: string): AgentError {
  const text = `rpc error: code = ${goStatus(status)} desc = ${message.slice(0, 2048)}`;
  return new AgentError({ code: `CSI_${status}`, message: text });
}
