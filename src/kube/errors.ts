import { AgentError } from '../core/index.ts';

/**
 * An answer of the API server that is not a success, or no answer at all. `code`: `KUBE_UNREACHABLE` (no answer: status
 * is 0), `KUBE_TIMEOUT` (0), else `KUBE_<status>`.
 */
export class KubeError extends AgentError {
  /** HTTP status, 0 if there was no answer. */
  readonly status: number;
  /** metav1.Status reason, such as `NotFound`, `Conflict`, `Expired`. */
  readonly reason: string | undefined;
  /** Milliseconds the server asks to wait, from Retry-After. */
  readonly retryAfterMs: number | undefined;

  constructor(init: {
    status: number;
    message: string;
    code?: string;
    reason?: string;
    retryAfterMs?: number;
    cause?: unknown;
  }) {
    super({ code: init.code ?? `KUBE_${init.status}`, message: init.message, cause: init.cause });
    this.status = init.status;
    this.reason = init.reason;
    this.retryAfterMs = init.retryAfterMs;
  }
}

export function isStatus(error: unknown, status: number): boolean {
  return error instanceof KubeError && error.status === status;
}

export const isNotFound = (error: unknown): boolean => isStatus(error, 404);
export const isConflict = (error: unknown): boolean => isStatus(error, 409);
/** The asked-for resourceVersion is gone from the server's history: list anew. */
export const isExpired = (error: unknown): boolean => isStatus(error, 410);

/** True if the same request may succeed later without a change: no answer, overload, or a server fault. */
export function isTransient(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 0 || error.status === 429 || error.status >= 500);
}
