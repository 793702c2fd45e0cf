import { type KubeletSettings, parseDocuments } from '../config/index.ts';
import type { Clock, Logger } from '../core/index.ts';
import { ensureDir } from '../host/index.ts';
import type { KubeClient } from '../kube/index.ts';
import { MirrorKeeper, mergedSource, type NodeController, type PodSource, StaticPodSource } from '../kubelet/index.ts';
import type { Stack } from './stack.ts';

export interface StaticPodsInput {
  settings: KubeletSettings;
  /** Where k3s looks for manifests; made if nobody named another path. */
  defaultPath: string;
  client: KubeClient;
  nodeName: string;
  node: NodeController;
  /** Pods of the server. */
  server: PodSource;
  stack: Stack;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

/** Pods from files beside those of the server, and what shows them there. */
export async function startStaticPods(input: StaticPodsInput): Promise<{ source: PodSource; mirrors: MirrorKeeper }> {
  const { settings, defaultPath, client, nodeName, node, server, stack, clock, log, signal } = input;
  const path = settings.staticPodPath ?? defaultPath;
  if (path === defaultPath) await ensureDir(path, 0o700);
  const files = new StaticPodSource({ path, nodeName, parse: parseDocuments, clock, log });
  const mirrors = new MirrorKeeper({
    client,
    nodeName,
    nodeUid: () => node.uid,
    inDoubt: () => files.faults.length > 0,
    clock,
    log,
  });
  await stack.start('mirror pods', mirrors, signal);
  await stack.start('static pods', files, signal);
  return { source: mergedSource({ server, files, onMirror: (change) => mirrors.observed(change) }), mirrors };
}
