import { dirname } from 'node:path';
import type { AgentConfig } from '../config/index.ts';
import { type Clock, createBackoff, describeError, isAbort, type Logger } from '../core/index.ts';
import { type Cri, createCri } from '../cri/index.ts';
import type { Exec } from '../host/index.ts';
import { joinPaths, lastServerConfig } from '../join/index.ts';
import type { AgentPaths } from './paths.ts';

export interface RuntimeInput {
  config: AgentConfig;
  paths: AgentPaths;
  exec: Exec;
  clock: Clock;
  log: Logger;
}

/**
 * The container runtime, configured before the server was asked: it starts beside the join. The one thing the server
 * decides, the registry of the pause image, is taken from the last join; a change of it takes hold at the next start.
 */
export async function containerRuntime({
  config,
  paths,
  exec,
  clock,
  log,
}: RuntimeInput): Promise<{ cri: Cri; pauseImage: string }> {
  const last = await lastServerConfig({ paths: joinPaths(config.dataDir) });
  const pauseImage = withRegistry(config.pauseImage, last?.systemDefaultRegistry ?? '');
  const cri = createCri({
    dataDir: config.dataDir,
    snapshotter: config.snapshotter,
    pauseImage,
    ...(config.defaultRuntime ? { defaultRuntime: config.defaultRuntime } : {}),
    // No flannel, no CNI settings of ours: another network add-on brings its own (k3s pkg/agent/config).
    ...(last?.flannelBackend === 'none'
      ? {}
      : { cni: { confDir: dirname(paths.conflist), own: { conflist: paths.conflist, plain: paths.plainConflist } } }),
    selinux: config.selinux,
    nonrootDevices: config.nonrootDevices,
    debug: config.debug,
    ...(config.containerRuntimeEndpoint ? { externalEndpoint: config.containerRuntimeEndpoint } : {}),
    registriesFile: config.privateRegistry,
    noDefaultEndpoint: config.disableDefaultRegistryEndpoint,
    airgapExtraRegistries: config.airgapExtraRegistry,
    exec,
    clock,
    log: log.child({ part: 'runtime' }),
  });
  return { cri, pauseImage };
}

function withRegistry(image: string, registry: string): string {
  return registry === '' || image.startsWith(`${registry}/`) ? image : `${registry}/${image}`;
}

/**
 * Starts the runtime, again and again if it must be: a missing package can be installed, a bad template mended while
 * the agent runs. Resolves when CRI answers.
 */
export async function startRuntime(
  cri: Cri,
  input: { clock: Clock; log: Logger; signal: AbortSignal; onFault: (error: unknown) => void },
): Promise<void> {
  const { clock, log, signal, onFault } = input;
  const backoff = createBackoff({ initialMs: 2_000, maxMs: 60_000 });
  let said = '';
  while (true)
    try {
      await cri.start(signal);
      onFault(undefined);
      return;
    } catch (error) {
      if (signal.aborted || isAbort(error)) throw error;
      onFault(error);
      const text = describeError(error);
      if (text !== said) log.error('the container runtime can not be started', { error: text });
      said = text;
      await clock.sleep(backoff.next(), signal);
    }
}
