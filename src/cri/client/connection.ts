import { AgentError } from '../../core/index.ts';
import * as grpc from '../../grpc/index.ts';

export type { Connection, Method, StreamOptions } from '../../grpc/index.ts';
export { methodsOf } from '../../grpc/index.ts';

/** The connection to a runtime's socket. Errors as `types.ts` says: `CRI_` and gRPC's status. */
export function createConnection(socket: string): grpc.Connection {
  return grpc.createConnection({ socket, failure });
}

/** containerd's own services want to know the namespace they work in. */
export function inNamespace(namespace: string): grpc.Headers {
  return { 'containerd-namespace': namespace };
}

function failure(status: string, message: string, path: string): AgentError {
  if (status === 'UNIMPLEMENTED' && /runtime\.v1\./.test(message))
    return new AgentError({
      code: 'CRI_UNIMPLEMENTED',
      message: `the runtime at ${path} does not speak CRI v1 (${message})`,
      remedy: 'containerd 1.6 or newer, with its cri plugin not disabled, is needed',
    });
  if (status === 'UNAVAILABLE')
    return new AgentError({
      code: 'CRI_UNAVAILABLE',
      message,
      remedy: `look whether containerd runs and serves ${path}; its log says why not`,
    });
  return new AgentError({ code: `CRI_${status}`, message });
}
