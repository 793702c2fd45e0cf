import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { decode, encode, type Schema } from '../../src/grpc/index.ts';
import { csiSchema } from '../../src/kubelet/csi/messages.ts';
import { registrationSchema } from '../../src/kubelet/plugins/registration.ts';

export interface CsiDriverOptions {
  name: string;
  /** Holds the volumes' files and the driver's socket. */
  dir: string;
  /** `…/plugins_registry` */
  registry: string;
  nodeId?: string;
  capabilities?: string[];
  topology?: Record<string, string>;
  maxVolumes?: number;
  versions?: string[];
}

export interface DriverCall {
  method: string;
  // Whatever the message holds: tests look into it.
  request: Record<string, never> & {
    volumeId: string;
    stagingPath: string;
    targetPath: string;
    readonly: boolean;
    volumeContext: Record<string, string>;
    publishContext: Record<string, string>;
    secrets: Record<string, string>;
    volumePath: string;
    range: { requiredBytes: number };
    capability: {
      block?: object;
      mount?: { fsType: string; mountFlags: string[]; mountGroup: string };
      access: { mode: string };
    };
  };
}

/** A CSI driver of folders on this host: real sockets, real bind mounts. */
export interface CsiDriver {
  readonly calls: DriverCall[];
  /** What the kubelet side said of the registration. */
  readonly notices: { registered: boolean; error: string }[];
  start(): Promise<void>;
  /** As if its process were killed: sockets closed, mounts left. */
  kill(): void;
  /** The next calls of a method fail so, until it is cleared by `heal`. */
  fail(method: string, code: grpc.status, message: string): void;
  heal(): void;
  /** Calls of a method wait until the returned function is called. */
  hold(method: string): () => void;
  /** Where a volume's files lie. */
  volume(handle: string): string;
  count(method: string): number;
}

type Handler = (request: DriverCall['request']) => object | Promise<object>;

export function createCsiDriver(options: CsiDriverOptions): CsiDriver {
  const { name, dir, registry, nodeId = 'node-1', capabilities = [], topology, maxVolumes = 0 } = options;
  const calls: DriverCall[] = [];
  const notices: CsiDriver['notices'] = [];
  const faults = new Map<string, { code: grpc.status; message: string }>();
  const holds = new Map<string, Promise<void>>();
  let servers: grpc.Server[] = [];
  const endpoint = join(dir, 'csi.sock');
  const registration = join(registry, `${name}-reg.sock`);
  const volume = (handle: string) => join(dir, 'volumes', handle);

  const mounted = (path: string) =>
    execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' }).includes(` ${path} `);
  const bind = (source: string, target: string, readonly: boolean) => {
    if (mounted(target)) return;
    execFileSync('mount', ['-o', readonly ? 'bind,ro' : 'bind', source, target]);
  };
  const unmount = (target: string) => {
    while (mounted(target)) execFileSync('umount', [target]);
  };
  const stages = capabilities.includes('STAGE_UNSTAGE_VOLUME');

  const node: Record<string, Handler> = {
    NodeGetInfo: () => ({ nodeId, maxVolumes, ...(topology ? { topology: { segments: topology } } : {}) }),
    NodeGetCapabilities: () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
    NodeStageVolume({ volumeId, stagingPath, capability }) {
      mkdirSync(volume(volumeId), { recursive: true });
      if (!capability.block) bind(volume(volumeId), stagingPath, false);
      return {};
    },
    NodeUnstageVolume({ stagingPath }) {
      unmount(stagingPath);
      return {};
    },
    NodePublishVolume({ volumeId, stagingPath, targetPath, readonly, capability, volumeContext }) {
      mkdirSync(volume(volumeId), { recursive: true });
      if (capability.block) {
        const device = join(volume(volumeId), 'device');
        // Never opened: that it is a block device is all that matters here.
        if (!existsSync(device)) execFileSync('mknod', [device, 'b', '7', '200']);
        if (!existsSync(targetPath)) writeFileSync(targetPath, '');
        bind(device, targetPath, false);
        return {};
      }
      const token = volumeContext['csi.storage.k8s.io/serviceAccount.tokens'];
      if (token) writeFileSync(join(volume(volumeId), 'tokens'), token);
      mkdirSync(targetPath, { recursive: true });
      bind(stages && stagingPath ? stagingPath : volume(volumeId), targetPath, readonly);
      return {};
    },
    NodeUnpublishVolume({ targetPath }) {
      unmount(targetPath);
      rmSync(targetPath, { force: true, recursive: true });
      return {};
    },
    NodeExpandVolume: ({ range }) => ({ capacityBytes: range.requiredBytes }),
  };

  const RPCS: readonly [string, string, string][] = [
    ['NodeGetInfo', 'Empty', 'NodeInfo'],
    ['NodeGetCapabilities', 'Empty', 'Capabilities'],
    ['NodeStageVolume', 'StageRequest', 'Empty'],
    ['NodeUnstageVolume', 'UnstageRequest', 'Empty'],
    ['NodePublishVolume', 'PublishRequest', 'Empty'],
    ['NodeUnpublishVolume', 'UnpublishRequest', 'Empty'],
    ['NodeExpandVolume', 'ExpandRequest', 'ExpandResponse'],
  ];

  const answer =
    (method: string, handler: Handler): grpc.handleUnaryCall<DriverCall['request'], object> =>
    (call, callback) => {
      void (async () => {
        calls.push({ method, request: call.request });
        await holds.get(method);
        const fault = faults.get(method);
        if (fault) return callback({ code: fault.code, details: fault.message });
        try {
          callback(null, await handler(call.request));
        } catch (error) {
          callback({ code: grpc.status.INTERNAL, details: String(error) });
        }
      })();
    };

  async function listen(socket: string, parts: [string, grpc.MethodDefinition<unknown, object>, Handler][]) {
    rmSync(socket, { force: true });
    const server = new grpc.Server();
    server.addService(
      Object.fromEntries(parts.map(([method, definition]) => [method, definition])) as grpc.ServiceDefinition,
      Object.fromEntries(
        parts.map(([method, , handler]) => [method, answer(method, handler)]),
      ) as grpc.UntypedServiceImplementation,
    );
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    servers.push(server);
  }

  return {
    calls,
    notices,
    async start() {
      mkdirSync(dir, { recursive: true });
      await listen(
        endpoint,
        RPCS.map(([method, request, response]) => [
          method,
          rpc(`/csi.v1.Node/${method}`, csiSchema, request, response),
          node[method] as Handler,
        ]),
      );
      const info = { type: 'CSIPlugin', name, endpoint, supportedVersions: options.versions ?? ['1.0.0'] };
      await listen(registration, [
        [
          'GetInfo',
          rpc('/pluginregistration.Registration/GetInfo', registrationSchema, 'Empty', 'PluginInfo'),
          () => info,
        ],
        [
          'NotifyRegistrationStatus',
          rpc('/pluginregistration.Registration/NotifyRegistrationStatus', registrationSchema, 'Status', 'Empty'),
          (request) => {
            notices.push(request as unknown as { registered: boolean; error: string });
            return {};
          },
        ],
      ]);
    },
    kill() {
      for (const server of servers) server.forceShutdown();
      servers = [];
      rmSync(registration, { force: true });
      rmSync(endpoint, { force: true });
    },
    fail: (method, code, message) => void faults.set(method, { code, message }),
    heal: () => faults.clear(),
    hold(method) {
      let go = () => {};
      holds.set(
        method,
        new Promise((resolve) => {
          go = resolve;
        }),
      );
      return () => {
        holds.delete(method);
        go();
      };
    },
    volume,
    count: (method) => calls.filter((call) => call.method === method).length,
  };
}

function rpc(path: string, schema: Schema, request: string, response: string): grpc.MethodDefinition<unknown, object> {
  return {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (value) => encode(schema, request, value as object),
    requestDeserialize: (bytes) => decode(schema, request, bytes),
    responseSerialize: (value) => encode(schema, response, value),
    responseDeserialize: (bytes) => decode(schema, response, bytes) as object,
  };
}
