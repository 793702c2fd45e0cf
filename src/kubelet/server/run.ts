import type { Pod } from '../../kube/index.ts';
import { rpcText } from '../pods/rpc-text.ts';
import { type ContainerQuery, type FoundContainer, findPod, type ServerRuntime } from './pods.ts';
import { type Body, HttpFailure } from './reply.ts';
import type { ContainerPath } from './route.ts';

/** POST /run: the command of query `cmd`, split at spaces, run to its end; the answer is what it printed. */
export async function serveRun(
  serving: {
    pods(): readonly Pod[];
    running(query: ContainerQuery): Promise<FoundContainer | undefined>;
    runtime: Pick<ServerRuntime, 'execSync'>;
  },
  request: { target: ContainerPath; query: URLSearchParams; signal: AbortSignal },
): Promise<Body> {
  const { target, query, signal } = request;
  const pod = findPod(serving.pods(), target);
  if (pod === undefined) throw new HttpFailure(404, 'pod does not exist');
  const cmd = (query.get('cmd') ?? '').split(' ');
  try {
    const found = await serving.running({ podUid: pod.metadata.uid ?? '', container: target.container });
    if (found === undefined) throw new HttpFailure(500, `container not found ("${target.container}")`);
    // Commands may run as long as they like: the caller going away ends the call.
    const result = await serving.runtime.execSync(found.containerId, cmd, 0, { signal, timeoutMs: 2 ** 31 - 1 });
    if (result.exitCode !== 0)
      throw new HttpFailure(500, `command '${cmd.join(' ')}' exited with ${result.exitCode}: ${result.stderr}`);
    return { status: 200, type: 'application/json', body: Buffer.concat([result.stdout, result.stderr]) };
  } catch (error) {
    if (error instanceof HttpFailure) throw error;
    throw new HttpFailure(500, rpcText(error), error);
  }
}
