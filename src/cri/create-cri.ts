import { join } from 'node:path';
import {
  type Clock,
  type Component,
  createBackoff,
  describeError,
  type Logger,
  silentLogger,
  systemClock,
} from '../core/index.ts';
import { socketPath } from '../grpc/index.ts';
import type { Exec } from '../host/index.ts';
import { type Connection, createConnection } from './client/connection.ts';
import { createImageService } from './client/image-service.ts';
import { createRuntimeService } from './client/runtime-service.ts';
import { findProgram, searchPath } from './containerd/binary.ts';
import { type ContainerdOptions, containerdPaths } from './containerd/prepare.ts';
import { type ContainerdStatus, createSupervisor, type Supervisor } from './containerd/supervisor.ts';
import { createRuntimeEvents, type RuntimeEventSource } from './events/index.ts';
import { createImporter, type ImageImporter } from './images/importer.ts';
import { recordFiles } from './images/records.ts';
import { createImageStore } from './images/store.ts';
import { withPlainNetwork } from './plain-network.ts';
import { createRegistries, type RegistrySettings } from './registries/index.ts';
import type { ImageService, RuntimeService } from './types.ts';

export interface CriOptions extends ContainerdOptions {
  /** `--container-runtime-endpoint`: use this runtime instead of running one. */
  externalEndpoint?: string;
  /** `/etc/rancher/k3s/registries.yaml` */
  registriesFile: string;
  /** `--disable-default-registry-endpoint` */
  noDefaultEndpoint?: boolean;
  /** `--airgap-extra-registry` */
  airgapExtraRegistries?: readonly string[];
  log?: Logger;
  clock?: Clock;
  exec?: Exec;
  env?: NodeJS.ProcessEnv;
}

export interface Cri extends Component {
  readonly runtime: RuntimeService;
  readonly images: ImageService;
  readonly events: RuntimeEventSource;
  readonly registries: RegistrySettings;
  readonly importer: ImageImporter;
  /** Names of images pinned in containerd's records, which CRI tells of from 1.7 on only. */
  pinnedImages(signal: AbortSignal): Promise<string[]>;
  /** What containerd downloads right now; throws `CRI_UNIMPLEMENTED` where the runtime is another. */
  downloads(signal: AbortSignal): Promise<{ ref: string; offset: number; total: number }[]>;
  /** Where the runtime listens, a path. */
  readonly socket: string;
  status(): ContainerdStatus;
  /** The kubelet's cgroupDriver must be the same; known after start, undefined for an external runtime. */
  cgroupDriver(): 'systemd' | 'cgroupfs' | undefined;
  /** Ends containerd too (stop() leaves it running, as its containers); for removal and tests. */
  shutdown(): Promise<void>;
}

/** containerd's namespace for what belongs to Kubernetes. */
const NAMESPACE = 'k8s.io';

/**
 * The container runtime with all that belongs to it. `start` resolves when CRI answers; registry settings are in place
 * by then, images of the images folder come after (`importer.imagesReady`). After a rejected `start` (what a person has
 * to mend, see the supervisor) it may be called again.
 */
export function createCri(options: CriOptions): Cri {
  const log = options.log ?? silentLogger;
  const clock = options.clock ?? systemClock;
  const paths = containerdPaths(options);
  const external = options.externalEndpoint === undefined ? undefined : socketPath(options.externalEndpoint);
  const connection = createConnection(external ?? paths.socket);
  const runtime = withPlainNetwork(createRuntimeService(connection), () =>
    supervisor.prepared()?.plainNetwork ? options.cni?.own : undefined,
  );
  const images = createImageService(connection);
  const supervisor =
    external === undefined
      ? createSupervisor({ ...options, connection, runtime })
      : followExternal({ connection, runtime, log, clock });
  const version = () => supervisor.status().version;
  const registries = createRegistries({
    file: options.registriesFile,
    registryDir: paths.registryDir,
    noDefaultEndpoint: options.noDefaultEndpoint ?? false,
    containerdVersion: version,
    log,
    clock,
  });
  const events = createRuntimeEvents({ connection, runtime, namespace: NAMESPACE, log, clock });
  let ctr: string | undefined;
  const folder = join(options.dataDir, 'agent/images');
  const store = createImageStore(connection, NAMESPACE);
  const importer = createImporter({
    folder,
    records: recordFiles(folder, paths.root),
    store,
    images,
    ctr: () => ctr,
    socket: connection.socket,
    namespace: NAMESPACE,
    containerdMajor: () => Number(version()?.split('.')[0] ?? 1),
    authFor: registries.authFor,
    extraRegistries: options.airgapExtraRegistries ?? [],
    log,
    clock,
  });

  return {
    runtime,
    images,
    events,
    registries,
    importer,
    async pinnedImages(signal) {
      const pinned = await store.list(['labels."io.cri-containerd.pinned"==pinned'], signal);
      return pinned.map((image) => image.name);
    },
    downloads: (signal) => store.downloads(signal),
    socket: connection.socket,
    async start(signal) {
      await Promise.all([registries.start(signal), supervisor.start(signal)]);
      const folders = searchPath(options.env ?? process.env);
      ctr = supervisor.prepared()?.binary.ctr ?? (await findProgram('ctr', folders));
      await events.start(signal);
      await importer.start(signal);
    },
    async stop() {
      await importer.stop();
      await events.stop();
      await registries.stop();
      await supervisor.stop();
      connection.close();
    },
    status: () => supervisor.status(),
    cgroupDriver() {
      const prepared = supervisor.prepared();
      return prepared && (prepared.systemdCgroup ? 'systemd' : 'cgroupfs');
    },
    shutdown: () => supervisor.shutdown(),
  };
}

interface ExternalOptions {
  connection: Connection;
  runtime: Pick<RuntimeService, 'version'>;
  log: Logger;
  clock: Clock;
}

/** A runtime somebody else runs: waited for, never started. */
function followExternal({ connection, runtime, log, clock }: ExternalOptions): Supervisor {
  const stopping = new AbortController();
  let version: string | undefined;
  let lastError: string | undefined;
  let stopped = true;
  return {
    async start(outer) {
      const signal = AbortSignal.any([outer, stopping.signal]);
      const backoff = createBackoff({ initialMs: 100, maxMs: 5_000 });
      stopped = false;
      while (version === undefined)
        try {
          version = (await runtime.version({ signal, timeoutMs: 10_000 })).runtimeVersion;
          lastError = undefined;
        } catch (error) {
          signal.throwIfAborted();
          const text = describeError(error);
          if (text !== lastError) log.error('The container runtime does not answer', { error: text });
          lastError = text;
          await clock.sleep(backoff.next(), signal);
        }
    },
    async stop() {
      stopping.abort();
      stopped = true;
    },
    status: () => ({
      state: stopped
        ? 'stopped'
        : version === undefined
          ? 'starting'
          : connection.state() === 'down'
            ? 'failing'
            : 'running',
      version,
      pid: undefined,
      socket: connection.socket,
      lastError,
    }),
    prepared: () => undefined,
    shutdown: () => Promise.resolve(),
  };
}
