import {
  type Clock,
  type Component,
  createBackoff,
  describeError,
  familyOf,
  hostPort,
  type Logger,
  splitHostPort,
} from '../core/index.ts';
import { Informer, isStatus, type KubeClient, type KubeObject } from '../kube/index.ts';

/** The parts of discovery.k8s.io/v1 EndpointSlice used here. */
export interface EndpointSliceView extends KubeObject {
  endpoints?: { addresses?: string[]; conditions?: { ready?: boolean } }[];
  ports?: { port?: number }[];
}

/** The parts of core/v1 Endpoints used here. */
export interface EndpointsView extends KubeObject {
  subsets?: { addresses?: { ip?: string }[]; ports?: { port?: number }[] }[];
}

const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const SLICE_LABEL = 'kubernetes.io/service-name=kubernetes';
const ENDPOINTS = '/api/v1/namespaces/default/endpoints';
const ENDPOINTS_FIELD = 'metadata.name=kubernetes';
const DEFAULT_PORT = 443;

/** Ready endpoints as `host:port` (k3s pkg/util/api.go GetAddressesFromSlices: first port of the slice, else 443). */
export function addressesOfSlices(slices: Iterable<EndpointSliceView>): string[] {
  const out: string[] = [];
  for (const slice of slices) {
    const port = slice.ports?.[0]?.port ?? DEFAULT_PORT;
    for (const endpoint of slice.endpoints ?? [])
      if (endpoint.conditions?.ready !== false)
        for (const address of endpoint.addresses ?? []) if (familyOf(address)) out.push(hostPort(address, port));
  }
  return [...new Set(out)];
}

export function addressesOfEndpoints(list: Iterable<EndpointsView>): string[] {
  const out: string[] = [];
  for (const object of list)
    for (const subset of object.subsets ?? []) {
      const port = subset.ports?.[0]?.port ?? DEFAULT_PORT;
      for (const { ip } of subset.addresses ?? []) if (ip && familyOf(ip)) out.push(hostPort(ip, port));
    }
  return [...new Set(out)];
}

/** The same hosts at another port: supervisor addresses from apiserver addresses and back, where the ports differ. */
export function withPort(addresses: readonly string[], port: number): string[] {
  const hosts = addresses.map((a) => splitHostPort(a)?.host).filter((h) => h !== undefined);
  return [...new Set(hosts.map((host) => hostPort(host, port)))];
}

export interface ServersSourceOptions {
  /** A client with the k3s-controller certificate. */
  client: KubeClient;
  /** `/v1-k3s/apiservers`: `host:port` list; undefined where the server has no such route (1.21). */
  apiServers?: (signal: AbortSignal) => Promise<string[] | undefined>;
  /** The apiservers' addresses as last heard; may be empty, may be the same as before. */
  onAddresses: (addresses: readonly string[]) => void;
  clock: Clock;
  log: Logger;
}

/**
 * Which servers there are: the supervisor's own list first and each time the API came back after a break, then a watch
 * of the EndpointSlices of `default/kubernetes`, or of its Endpoints where slices are not allowed or not known.
 */
export class ServersSource implements Component {
  readonly #options: ServersSourceOptions;
  readonly #abort = new AbortController();
  #unsubscribe: () => void = () => {};
  #informer: Informer<EndpointSliceView> | Informer<EndpointsView> | undefined;
  #asking = false;

  constructor(options: ServersSourceOptions) {
    this.#options = options;
  }

  /** Begins asking and watching; does not wait for an answer. */
  async start(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => void this.stop(), { once: true });
    this.#unsubscribe = this.#options.client.onReachable(() => void this.#ask());
    void this.#ask();
    void this.#watch();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#unsubscribe();
    await this.#informer?.stop();
  }

  async #ask(): Promise<void> {
    const { apiServers, onAddresses, log } = this.#options;
    if (apiServers === undefined || this.#asking || this.#abort.signal.aborted) return;
    this.#asking = true;
    try {
      const list = await apiServers(this.#abort.signal);
      if (list !== undefined && list.length > 0 && !this.#abort.signal.aborted) onAddresses(list);
    } catch (error) {
      log.debug('the supervisor did not name its apiservers', { error: describeError(error) });
    } finally {
      this.#asking = false;
    }
  }

  async #watch(): Promise<void> {
    const { client, clock, log, onAddresses } = this.#options;
    const signal = this.#abort.signal;
    const kind = await this.#watchable();
    if (kind === undefined) return;
    // A deletion is not told on: the kubernetes Service loses its objects only while servers start anew.
    const common = { client, clock, log };
    if (kind === 'slices') {
      const informer = new Informer<EndpointSliceView>({ ...common, path: SLICES, labelSelector: SLICE_LABEL });
      this.#informer = informer;
      informer.subscribe(() => onAddresses(addressesOfSlices(informer.list())));
    } else {
      const informer = new Informer<EndpointsView>({ ...common, path: ENDPOINTS, fieldSelector: ENDPOINTS_FIELD });
      this.#informer = informer;
      informer.subscribe(() => onAddresses(addressesOfEndpoints(informer.list())));
    }
    await this.#informer.start(signal);
  }

  /** Which of the two this identity may list; waits while the server can't tell (starting, away). */
  async #watchable(): Promise<'slices' | 'endpoints' | undefined> {
    const { client, clock } = this.#options;
    const signal = this.#abort.signal;
    const backoff = createBackoff({ initialMs: 500, maxMs: 10_000, jitter: 0.5 });
    while (!signal.aborted) {
      try {
        await client.get(SLICES, { query: { labelSelector: SLICE_LABEL, limit: 1 }, signal });
        return 'slices';
      } catch (error) {
        if ((isStatus(error, 403) || isStatus(error, 404)) && (await this.#mayListEndpoints())) return 'endpoints';
      }
      const pause = new AbortController();
      const unsubscribe = client.onReachable(() => pause.abort());
      await clock.sleep(backoff.next(), AbortSignal.any([signal, pause.signal])).catch(() => {});
      unsubscribe();
    }
    return undefined;
  }

  async #mayListEndpoints(): Promise<boolean> {
    const { client } = this.#options;
    const query = { fieldSelector: ENDPOINTS_FIELD, limit: 1 };
    return client.get(ENDPOINTS, { query, signal: this.#abort.signal }).then(
      () => true,
      () => false,
    );
  }
}
