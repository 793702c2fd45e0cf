import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Pod } from '../../../kube/index.ts';
import {
  type ContainerQuery,
  containerTty,
  type FoundContainer,
  findPod,
  type ServerRuntime,
  sandboxOf,
} from '../pods.ts';
import { HttpFailure, streamingFailure } from '../reply.ts';
import type { Route } from '../route.ts';
import { forwardPorts, streamOptions } from './options.ts';
import { splice } from './splice.ts';

export type StreamRoute = Extract<Route, { kind: 'exec' | 'attach' | 'portForward' }>;

export interface StreamServing {
  pods(): readonly Pod[];
  running(query: ContainerQuery): Promise<FoundContainer | undefined>;
  runtime: ServerRuntime;
}

/** A one-time URL on the runtime's streaming server for what the route asks. Throws HttpFailure. */
async function streamUrl(
  { pods, running, runtime }: StreamServing,
  route: StreamRoute,
  request: { message: Pick<IncomingMessage, 'headers'>; query: URLSearchParams },
): Promise<string> {
  const { query, message } = request;
  if (route.kind === 'portForward') {
    const port = forwardPorts(message, query);
    const pod = podOf(pods(), route);
    const podSandboxId = await orFailure(sandboxOf(runtime, pod.metadata.uid ?? ''));
    if (podSandboxId === undefined)
      throw new HttpFailure(500, `pod not found ("${pod.metadata.name}_${pod.metadata.namespace}")`);
    return orFailure(runtime.portForward({ podSandboxId, port }));
  }
  const streams = streamOptions(query);
  const pod = podOf(pods(), route);
  const found = await orFailure(running({ podUid: pod.metadata.uid ?? '', container: route.container }));
  if (found === undefined)
    throw new HttpFailure(
      500,
      route.kind === 'exec'
        ? `container not found ("${route.container}")`
        : `container ${route.container} not found in pod ${pod.metadata.name}_${pod.metadata.namespace}`,
    );
  const { containerId } = found;
  if (route.kind === 'exec') return orFailure(runtime.exec({ containerId, cmd: query.getAll('command'), ...streams }));
  return orFailure(runtime.attach({ containerId, ...streams, tty: containerTty(pod, route.container) }));
}

function podOf(pods: readonly Pod[], route: { namespace: string; pod: string; uid?: string }): Pod {
  const pod = findPod(pods, route);
  if (pod === undefined) throw new HttpFailure(404, 'pod does not exist');
  return pod;
}

async function orFailure<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw streamingFailure(error);
  }
}

/** Serves an upgrade request to its end. Throws HttpFailure while nothing was answered. */
export async function serveStream(
  serving: StreamServing,
  route: StreamRoute,
  request: { message: IncomingMessage; query: URLSearchParams; socket: Socket; head: Buffer },
): Promise<void> {
  const { message, socket, head } = request;
  const url = await streamUrl(serving, route, request);
  await splice({ request: message, socket, head, url });
}
