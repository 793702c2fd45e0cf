import { KubeError, type WatchEvent } from '../../src/kube/index.ts';
import type { ReferenceApi, Referenced } from '../../src/kubelet/references/index.ts';

interface WatchRequest {
  path: string;
  query?: Record<string, unknown>;
  signal?: AbortSignal;
  onOpen?: () => void;
}

interface Watcher {
  path: string;
  name: string;
  /** Versions up to this one are of no interest to it, even if they are still to come. */
  since: number;
  push(event: WatchEvent<Referenced>): void;
  end(): void;
}

/** ConfigMaps, Secrets and tokens of an API server in memory, with its faults. */
export class FakeReferenceApi {
  readonly objects = new Map<string, Referenced>();
  readonly requests: string[] = [];
  readonly tokenBodies: unknown[] = [];
  readonly watchers = new Set<Watcher>();
  readonly #wakers = new Set<() => void>();
  /** Every answer until it is cleared. */
  fault: KubeError | undefined;
  tokenLife: number | undefined;
  tokens = 0;
  #version = 100;

  readonly client = {
    get: (path: string, options?: { query?: Record<string, unknown> }) => this.#get(path, options?.query),
    create: (path: string, body: unknown) => this.#token(path, body),
    watch: (request: WatchRequest) => this.#watch(request),
    onReachable: (fn: () => void) => {
      this.#wakers.add(fn);
      return () => this.#wakers.delete(fn);
    },
  } as unknown as ReferenceApi;

  put(kind: 'ConfigMap' | 'Secret', namespace: string, name: string, data: Record<string, string>, extra = {}): void {
    const path = `/api/v1/namespaces/${namespace}/${kind === 'ConfigMap' ? 'configmaps' : 'secrets'}`;
    const known = this.objects.has(`${path}/${name}`);
    const values = kind === 'Secret' ? Object.fromEntries(Object.entries(data).map(([k, v]) => [k, btoa(v)])) : data;
    const object = { metadata: { name, namespace, resourceVersion: String(++this.#version) }, data: values, ...extra };
    this.objects.set(`${path}/${name}`, object);
    this.#tell(path, name, { type: known ? 'MODIFIED' : 'ADDED', object });
  }

  remove(kind: 'ConfigMap' | 'Secret', namespace: string, name: string): void {
    const path = `/api/v1/namespaces/${namespace}/${kind === 'ConfigMap' ? 'configmaps' : 'secrets'}`;
    const object = this.objects.get(`${path}/${name}`);
    this.objects.delete(`${path}/${name}`);
    this.#version++;
    if (object) this.#tell(path, name, { type: 'DELETED', object });
  }

  down(): void {
    this.fault = new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'connect ECONNREFUSED' });
    for (const watcher of [...this.watchers]) watcher.end();
  }

  up(): void {
    this.fault = undefined;
    for (const wake of [...this.#wakers]) wake();
  }

  /** A backup taken before: what was written since is gone, and versions are counted on from there. */
  restore(backup: { objects: Map<string, Referenced>; version: number }): void {
    this.objects.clear();
    for (const [path, object] of backup.objects) this.objects.set(path, structuredClone(object));
    this.#version = backup.version;
  }

  backup(): { objects: Map<string, Referenced>; version: number } {
    return { objects: new Map(this.objects), version: this.#version };
  }

  async #get(path: string, query?: Record<string, unknown>): Promise<Referenced> {
    if (query?.fieldSelector !== undefined)
      return this.#list(path, String(query.fieldSelector)) as unknown as Referenced;
    this.requests.push(`GET ${path}`);
    if (this.fault) throw this.fault;
    const object = this.objects.get(path);
    if (!object) throw new KubeError({ status: 404, message: `${path} not found`, reason: 'NotFound' });
    return structuredClone(object);
  }

  /** Of one name, by its metadata. */
  #list(path: string, selector: string) {
    this.requests.push(`LIST ${path}?${selector}`);
    if (this.fault) throw this.fault;
    const object = this.objects.get(`${path}/${selector.replace('metadata.name=', '')}`);
    return {
      metadata: { resourceVersion: String(this.#version) },
      items: object ? [{ metadata: structuredClone(object.metadata) }] : [],
    };
  }

  async #token(path: string, body: unknown): Promise<unknown> {
    this.requests.push(`POST ${path}`);
    this.tokenBodies.push(body);
    if (this.fault) throw this.fault;
    const { expirationSeconds } = (body as { spec: { expirationSeconds: number } }).spec;
    return {
      spec: { expirationSeconds: this.tokenLife ?? expirationSeconds },
      status: { token: `token-${++this.tokens}` },
    };
  }

  #tell(path: string, name: string, event: WatchEvent<Referenced>): void {
    for (const watcher of this.watchers)
      if (watcher.path === path && watcher.name === name && this.#version > watcher.since)
        watcher.push(structuredClone(event));
  }

  async *#watch(request: WatchRequest): AsyncGenerator<WatchEvent<Referenced>> {
    if (this.fault) throw this.fault;
    const name = String(request.query?.fieldSelector).replace('metadata.name=', '');
    this.requests.push(`WATCH ${request.path}/${name}`);
    const queue: WatchEvent<Referenced>[] = [];
    let wake: () => void = () => {};
    let ended = false;
    const watcher: Watcher = {
      path: request.path,
      name,
      since: Number(request.query?.resourceVersion ?? 0),
      push: (event) => {
        queue.push(event);
        wake();
      },
      end: () => {
        ended = true;
        wake();
      },
    };
    const now = this.objects.get(`${request.path}/${name}`);
    if (now && Number(now.metadata?.resourceVersion) > watcher.since)
      queue.push({ type: 'ADDED', object: structuredClone(now) });
    this.watchers.add(watcher);
    request.onOpen?.();
    request.signal?.addEventListener('abort', watcher.end, { once: true });
    try {
      for (;;) {
        const event = queue.shift();
        if (event) yield event;
        else if (this.fault && ended) throw this.fault;
        else if (ended || request.signal?.aborted) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      this.watchers.delete(watcher);
    }
  }
}
