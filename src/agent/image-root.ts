import { join } from 'node:path';
import type { AgentConfig } from '../config/index.ts';
import type { Cri } from '../cri/index.ts';
import type { AgentPaths } from './paths.ts';

export interface ImageRootInput {
  config: Pick<AgentConfig, 'containerRuntimeEndpoint'>;
  paths: Pick<AgentPaths, 'agentDir'>;
  cri: { images: Pick<Cri['images'], 'imageFsInfo'> };
  criStarted: Promise<void>;
}

/**
 * The folder on whose file system the runtime keeps images and containers. A runtime that is not ours is asked once it is
 * up, until it has said; before that, what most of them have is the best guess. Rejects if it does not answer.
 */
export function imageRoot({ config, paths, cri, criStarted }: ImageRootInput): () => Promise<string> {
  let path = config.containerRuntimeEndpoint ? undefined : join(paths.agentDir, 'containerd');
  let isUp = false;
  criStarted.then(
    () => {
      isUp = true;
    },
    () => {},
  );
  return async () => {
    if (path === undefined && isUp)
      path = (await cri.images.imageFsInfo({ timeoutMs: 10_000 })).imageFilesystems[0]?.mountpoint;
    return path ?? '/var/lib/containerd';
  };
}
