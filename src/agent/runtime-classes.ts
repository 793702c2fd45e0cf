import { AgentError, describeError } from '../core/index.ts';
import { readState, writeState } from '../host/index.ts';
import { isNotFound, type KubeClient } from '../kube/index.ts';

export interface RuntimeClassOptions {
  client: Pick<KubeClient, 'get'>;
  /** Keeps what was looked up, so that a board that starts without its server can start these pods too. */
  path: string;
}

/**
 * The runtime handler of a RuntimeClass (kubelet pkg/kubelet/runtimeclass). The server is asked each time; while it can't
 * be reached, what it said last holds. Rejects with AgentError `RUNTIME_CLASS` and upstream's text.
 */
export function runtimeClassHandlers({ client, path }: RuntimeClassOptions) {
  let memory: Promise<Map<string, string>> | undefined;
  const known = () => {
    memory ??= readState<[string, string][]>(path)
      .then((list) => new Map(Array.isArray(list) ? list : []))
      .catch(() => new Map());
    return memory;
  };
  const keep = async (name: string, handler: string | undefined) => {
    const handlers = await known();
    if (handlers.get(name) === handler) return;
    if (handler === undefined) handlers.delete(name);
    else handlers.set(name, handler);
    // Of use only without a server: a disk that is full must not keep the pod from starting.
    await writeState(path, [...handlers]).catch(() => {});
  };
  return async (name: string, signal: AbortSignal): Promise<string> => {
    let handler: string;
    try {
      const url = `/apis/node.k8s.io/v1/runtimeclasses/${encodeURIComponent(name)}`;
      handler = (await client.get<{ handler?: string }>(url, { signal })).handler ?? '';
    } catch (cause) {
      if (signal.aborted) throw cause;
      if (isNotFound(cause)) {
        await keep(name, undefined);
        const message = `runtimeclass.node.k8s.io "${name}" not found`;
        throw new AgentError({ code: 'RUNTIME_CLASS', message });
      }
      const before = (await known()).get(name);
      if (before !== undefined) return before;
      const message = `failed to lookup RuntimeClass ${name}: ${describeError(cause)}`;
      throw new AgentError({ code: 'RUNTIME_CLASS', message, cause });
    }
    await keep(name, handler);
    return handler;
  };
}
