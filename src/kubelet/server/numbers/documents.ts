import { type Clock, systemClock } from '../../../core/index.ts';
import { readFilesystem } from '../../../hardware/index.ts';
import { rpcText } from '../../pods/rpc-text.ts';
import type { ServerRuntime } from '../pods.ts';
import { type Body, HttpFailure } from '../reply.ts';
import type { Documents } from '../server.ts';
import { createRates } from './rates.ts';
import { resourceText } from './resource-text.ts';
import { summary } from './summary.ts';
import { nodeNumbers, podNumbers } from './usage.ts';

export interface DocumentOptions {
  nodeName: string;
  runtime: Pick<ServerRuntime, 'listContainers' | 'listContainerStats'>;
  /** The kubelet's folder: its file system is the node's in /stats/summary. */
  rootDir: string;
  /** The `kubeletconfig` of /configz: a KubeletConfiguration with what really holds here. */
  configuration?(): object;
  clock?: Clock;
}

const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';
/** Without an earlier reading: the time between the two that a first rate is made of. */
const FIRST_RATE_MS = 250;

/**
 * The pages about numbers that `kubectl top` and metrics-server of every version live on, measured when they are asked
 * for. /metrics and /metrics/probes hold the little that is known of this process; /metrics/cadvisor is not there.
 */
export function createDocuments(options: DocumentOptions): Documents {
  const { nodeName, runtime, rootDir, clock = systemClock, configuration } = options;
  const rates = createRates();
  const startedAt = (clock.now() - process.uptime() * 1000) / 1000;
  const processPage = async (): Promise<Body> => ({
    status: 200,
    type: PROMETHEUS,
    body:
      '# HELP process_start_time_seconds [STABLE] Start time of the process since unix epoch in seconds.\n' +
      `# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds ${startedAt}\n`,
  });
  let warm = false;
  const numbers = async () => {
    const [node, pods] = await Promise.all([nodeNumbers(clock), podNumbers(runtime)]);
    return { node, pods };
  };
  return {
    async resource() {
      // The node's own numbers are there also while the runtime is away.
      const [node, pods] = await Promise.all([nodeNumbers(clock), podNumbers(runtime).catch(() => undefined)]);
      return { status: 200, type: PROMETHEUS, body: resourceText(node, pods) };
    },
    async summary() {
      try {
        const page = async () => {
          const filesystem = await readFilesystem(rootDir);
          return summary({ nodeName, ...(await numbers()), rates, filesystem, now: clock.now() });
        };
        if (!warm) {
          await page();
          await clock.sleep(FIRST_RATE_MS);
          warm = true;
        }
        return { status: 200, type: 'application/json', body: JSON.stringify(await page()) };
      } catch (error) {
        throw new HttpFailure(500, rpcText(error), error);
      }
    },
    metrics: processPage,
    probes: processPage,
    ...(configuration === undefined
      ? {}
      : {
          async configz() {
            return {
              status: 200,
              type: 'application/json',
              body: JSON.stringify({ kubeletconfig: configuration() }),
            };
          },
        }),
  };
}
