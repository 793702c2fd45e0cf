import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { type Clock, errorCode, isAbort } from '../../../core/index.ts';
import type { RuntimeEvents } from '../../../cri/types.ts';
import type { Pod } from '../../../kube/index.ts';
import { findContainer } from '../../pods/model.ts';
import { findPod, type ServerRuntime } from '../pods.ts';
import { HttpFailure } from '../reply.ts';
import type { ContainerPath } from '../route.ts';
import { containerEnd } from './container-end.ts';
import { logOptions } from './options.ts';
import { readLog } from './reader.ts';
import { loggedContainer, quote } from './which.ts';

export interface LogServing {
  pods(): readonly Pod[];
  runtime: Pick<ServerRuntime, 'containerStatus'>;
  events?: RuntimeEvents | undefined;
  podLogsRoot: string;
  clock: Clock;
}

/** Answers /containerLogs. Throws HttpFailure while nothing was sent. */
export async function serveLogs(
  serving: LogServing,
  request: { target: ContainerPath; query: URLSearchParams; response: ServerResponse; signal: AbortSignal },
): Promise<void> {
  const { target, query, response, signal } = request;
  const options = logOptions(query, serving.clock.now());
  const pod = findPod(serving.pods(), target);
  if (pod === undefined) throw new HttpFailure(404, `pod ${quote(target.pod)} does not exist`);
  if (findContainer(pod, target.container) === undefined)
    throw new HttpFailure(404, `container ${quote(target.container)} not found in pod ${quote(target.pod)}`);
  const { containerId, path } = await logFile(serving, pod, target.container, options.previous);

  let begun = false;
  const begin = () => {
    if (begun) return;
    begun = true;
    response.writeHead(200, { 'content-type': 'text/plain' });
    // Whoever follows a silent container wants to know at once that it works.
    if (options.follow) response.flushHeaders();
  };
  try {
    const reading = readLog({
      path,
      options,
      signal,
      clock: serving.clock,
      onEnd: (ended) => containerEnd({ ...serving, containerId, ended }),
      opened: begin,
      async write(text) {
        if (!response.write(text)) await once(response, 'drain', { signal });
      },
    });
    await reading;
    response.end();
  } catch (error) {
    if (signal.aborted || isAbort(error)) return;
    if (!begun) throw new HttpFailure(400, error instanceof Error ? error.message : 'unreadable log', error);
    response.destroy();
  }
}

/** Where the runtime writes it; while the runtime is away, where it must be. */
async function logFile(
  { runtime, podLogsRoot }: LogServing,
  pod: Pod,
  container: string,
  previous: boolean,
): Promise<{ containerId: string; path: string }> {
  const { containerId, attempt } = loggedContainer(pod, container, previous);
  try {
    const { logPath } = await runtime.containerStatus(containerId, { timeoutMs: 10_000 });
    if (logPath !== '') return { containerId, path: logPath };
  } catch (error) {
    if (errorCode(error) === 'CRI_NOT_FOUND')
      throw new HttpFailure(400, `unable to retrieve container logs for containerd://${containerId}`, error);
  }
  const { name, namespace, uid } = pod.metadata;
  return { containerId, path: join(podLogsRoot, `${namespace}_${name}_${uid}`, container, `${attempt}.log`) };
}
