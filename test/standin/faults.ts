import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request to answer with an error, or not at all. */
export interface RequestFault {
  /** Tested against method and URL: `GET /api/v1/pods?watch=1`. */
  match: RegExp;
  /** HTTP status to answer; `drop` cuts the connection. */
  answer: number | 'drop';
  /** How many times; without end when left out. */
  times?: number;
  /** Retry-After in seconds. */
  retryAfter?: number;
}

/** What tests may do to a running server. */
export interface Faults {
  /** Connections are taken but nothing is answered until `resume`. */
  pause(): void;
  resume(): void;
  /** 503 from the API and the supervisor's core, as while starting. */
  notReady(on: boolean): void;
  /** Every request waits so long first. */
  delay(ms: number): void;
  fail(fault: RequestFault): void;
  clear(): void;
}

export interface FaultGate extends Faults {
  readonly ready: boolean;
  /** Waits as the faults say; returns the fault that decides this request, if one does. */
  pass(request: IncomingMessage): Promise<RequestFault | undefined>;
}

export function createFaultGate(): FaultGate {
  let ready = true;
  let delayMs = 0;
  let paused: { promise: Promise<void>; release: () => void } | undefined;
  let faults: RequestFault[] = [];
  const resume = () => {
    paused?.release();
    paused = undefined;
  };
  return {
    get ready() {
      return ready;
    },
    pause() {
      if (paused) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      paused = { promise, release: resolve };
    },
    resume,
    notReady: (on) => {
      ready = !on;
    },
    delay: (ms) => {
      delayMs = ms;
    },
    fail: (fault) => void faults.push({ ...fault }),
    clear() {
      ready = true;
      delayMs = 0;
      faults = [];
      resume();
    },
    async pass(request) {
      await paused?.promise;
      if (delayMs > 0) await sleep(delayMs);
      const line = `${request.method} ${request.url}`;
      const found = faults.find((fault) => fault.match.test(line));
      if (found?.times !== undefined && --found.times <= 0) faults = faults.filter((fault) => fault !== found);
      return found;
    },
  };
}
