/**
 * A part with a lifetime. Constructors only store; `start` resolves once the part does its job (or has begun trying,
 * where the other side may be away for days) and the signal ends its loops; `stop` may be called twice and at any time.
 */
export interface Component {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}
