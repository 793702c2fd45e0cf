import { type Clock, errorCode } from '../../../core/index.ts';
import type { RuntimeEvents } from '../../../cri/types.ts';
import type { ServerRuntime } from '../pods.ts';

/** Without events, how often a followed container is looked at. */
const LOOK_MS = 5_000;
/** The event of an exit can be ahead of the runtime's own books, which also wait for the last output. */
const AGAIN_MS = [50, 100, 200, 400, 800, 1_600];

export interface ContainerEndInit {
  runtime: Pick<ServerRuntime, 'containerStatus'>;
  events?: RuntimeEvents | undefined;
  containerId: string;
  clock: Clock;
  ended: () => void;
}

/**
 * Calls `ended` once when the container no longer runs and all it printed is in its log file; an unreachable runtime
 * says nothing about its containers. The returned function ends the watch.
 */
export function containerEnd({ runtime, events, containerId, clock, ended }: ContainerEndInit): () => void {
  let done = false;
  let looking = false;
  let lookAgain = false;
  let cancelTimer = () => {};

  const look = async (): Promise<'running' | 'ended' | 'unknown'> => {
    try {
      const { state } = await runtime.containerStatus(containerId, { timeoutMs: 10_000 });
      return state === 'CONTAINER_RUNNING' || state === 'CONTAINER_UNKNOWN' ? 'running' : 'ended';
    } catch (error) {
      return errorCode(error) === 'CRI_NOT_FOUND' ? 'ended' : 'unknown';
    }
  };
  const check = async (expectEnd: boolean) => {
    if (looking) {
      lookAgain ||= expectEnd;
      return;
    }
    looking = true;
    for (let round = 0; !done; round++) {
      const state = await look();
      if (done) break;
      if (state === 'ended') {
        stop();
        ended();
        break;
      }
      if (lookAgain) {
        lookAgain = false;
        expectEnd = true;
        round = 0;
      }
      const pause = expectEnd ? AGAIN_MS[round] : undefined;
      if (pause === undefined) break;
      await clock.sleep(pause);
    }
    looking = false;
  };

  const unsubscribe = events?.subscribe((event) => {
    if (event.type === 'resync') void check(false);
    else if (event.type === 'container' && event.containerId === containerId && event.kind !== 'started')
      void check(event.kind === 'exited' || event.kind === 'deleted');
  });
  const tick = () => {
    cancelTimer = clock.after(LOOK_MS, () => {
      void check(false);
      if (!done) tick();
    });
  };
  if (unsubscribe === undefined) tick();
  void check(false);

  function stop(): void {
    done = true;
    cancelTimer();
    unsubscribe?.();
  }
  return stop;
}
