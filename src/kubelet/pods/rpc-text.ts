import { describeError, errorCode } from '../../core/index.ts';
import { goStatus } from '../../grpc/index.ts';

/**
 * An error as upstream's texts show it where they don't unwrap it: what the runtime answered, in gRPC's own words
 * (`rpc error: code = Unknown desc = …`).
 */
export function rpcText(error: unknown): string {
  const status = /^CRI_([A-Z_]+)$/.exec(errorCode(error) ?? '')?.[1];
  const text = describeError(error);
  return status === undefined ? text : `rpc error: code = ${goStatus(status)} desc = ${text}`;
}
