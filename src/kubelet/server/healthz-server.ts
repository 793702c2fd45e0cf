import { createServer, type Server } from 'node:http';
import { type Clock, type Component, type Logger, systemClock } from '../../core/index.ts';
import { BASIC_CHECKS, type HealthCheck, healthz } from './healthz.ts';
import { createListener } from './listener.ts';
import { send } from './reply.ts';
import { parseTarget, route } from './route.ts';

export interface HealthzServerOptions {
  /** `127.0.0.1`, or `::1` on a node whose first address is IPv6. */
  bindAddress: string;
  /** 10248 when left out. */
  port?: number;
  checks?: readonly HealthCheck[];
  log: Logger;
  clock?: Clock;
}

/** The kubelet's health page for the host itself: plain HTTP on the loopback address, no identity needed. */
export class HealthzServer implements Component {
  readonly #options: HealthzServerOptions;
  readonly #server: Server;
  readonly #ending = new AbortController();

  constructor(options: HealthzServerOptions) {
    this.#options = options;
    const checks = [...BASIC_CHECKS, ...(options.checks ?? [])];
    this.#server = createServer({ headersTimeout: 10_000, maxHeaderSize: 8 * 1024 }, async (request, response) => {
      request.resume();
      response.on('error', () => {});
      const target = parseTarget(request.url ?? '');
      const to = route(request.method ?? '', target?.path ?? '/');
      if (target === undefined || to.kind !== 'healthz')
        return send(response, { status: 404, body: '404 page not found\n' });
      send(response, await healthz({ checks, check: to.check, query: target.query, log: options.log }));
    });
    this.#server.maxConnections = 16;
  }

  /** Where it listens; undefined while it does not. */
  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === 'object' ? address?.port : undefined;
  }

  async start(signal: AbortSignal): Promise<void> {
    const { bindAddress: host, port = 10_248, log, clock = systemClock } = this.#options;
    const { signal: ended } = this.#ending;
    signal.addEventListener('abort', () => void this.stop(), { once: true, signal: ended });
    await createListener({ server: this.#server, what: 'the health page', host, port, clock, log }).start(ended);
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}
