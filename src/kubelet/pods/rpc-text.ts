import { describeError, errorCode } from '../../core/index.ts';

/**
 * An error as upstream's events show it where they don't unwrap it: what the runtime answered, in gRPC's own words
 * (`rpc error: code = Unknown desc = …`).
 */
export function rpcText(error: unknown): string {
  const status = /^CRI_([A-Z_]+)$/.exec(errorCode(error) ?? '')?.[1];
  const text = describeError(error);
  if (status === undefined) return text;
  const name = status === 'CANCELLED' ? 'Canceled' : status === 'OK' ? 'OK' : camelCase(status);
  return `rpc error: code = ${name} desc = ${text}`;
}

/** `DEADLINE_EXCEEDED` → `DeadlineExceeded` */
function camelCase(status: string): string {
  return status
    .split('_')
    .map((word) => word.slice(0, 1) + word.slice(1).toLowerCase())
    .join('');
}
