import { Agent, buildConnector, type Dispatcher } from 'undici';
import { abortError, describeError, errorCode, type Logger, sayOnce } from '../core/index.ts';
import { KubeError } from './errors.ts';

/** PEM texts. Without cert and key the client is anonymous (or uses the token). */
export interface KubeCredentials {
  ca: string;
  cert?: string;
  key?: string;
  token?: string;
}

export interface KubeClientOptions {
  /** `https://host:port` of the API server, usually the local load balancer. */
  server: string;
  credentials: KubeCredentials;
  userAgent: string;
  log: Logger;
}

export interface KubeRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with leading slash, such as `/api/v1/nodes/n1`. */
  path: string;
  query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON. */
  body?: unknown;
  /** For PATCH: which kind of patch `body` is. */
  patch?: PatchKind;
  accept?: string;
  /** What the answer holds is of no interest: it is asked for in its shortest form, and the result is undefined. */
  discard?: boolean;
  /** Whole request; 15 s when left out. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export type PatchKind = 'merge' | 'strategic' | 'json' | 'apply';

/** metav1.DeleteOptions, as far as it can be said in a query (apimachinery Convert_url_Values_To_v1_DeleteOptions). */
export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  preconditions?: { uid?: string | undefined; resourceVersion?: string | undefined };
}

/** One line of a watch. `ERROR` carries a Status in `object`. */
export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

const PATCH_TYPE: Readonly<Record<PatchKind, string>> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** Protobuf metadata is little more than half of what JSON is; those that know neither send the whole object. */
const SHORTEST = ['vnd.kubernetes.protobuf', 'json']
  .map((type) => `application/${type};as=PartialObjectMetadata;g=meta.k8s.io;v=v1`)
  .concat('application/json')
  .join(',');

/** An answer larger than this is refused: what the server may send is bounded, as is our memory. */
const MAX_BODY = 64 * 1024 * 1024;
/** One watch event; etcd refuses objects over 1.5 MiB, JSON may double them. */
const MAX_EVENT = 8 * 1024 * 1024;

/**
 * The API server client: JSON over HTTP/2 (HTTP/1.1 where a proxy speaks no better). Throws {@link KubeError}. Credentials can be
 * replaced while running (renewed certificates): new requests use new connections, running ones finish on theirs.
 */
export class KubeClient {
  readonly server: string;
  readonly #userAgent: string;
  readonly #log: Logger;
  readonly #warned = sayOnce();
  readonly #wakers = new Set<() => void>();
  #dispatcher: Agent;
  #credentials: KubeCredentials;
  /** The server (k3s 1.21) or a proxy speaks HTTP/1.1 only. */
  #onlyHttp1 = false;
  #token: string | undefined;
  /** When the server last sent anything, in performance.now() milliseconds. */
  #heard = 0;
  /** Undefined until the first request ended. */
  #reachable: boolean | undefined;

  constructor(options: KubeClientOptions) {
    this.server = options.server;
    this.#userAgent = options.userAgent;
    this.#log = options.log;
    this.#credentials = options.credentials;
    this.#token = options.credentials.token;
    this.#dispatcher = this.#newDispatcher();
  }

  setCredentials(credentials: KubeCredentials): void {
    const old = this.#dispatcher;
    this.#credentials = credentials;
    this.#token = credentials.token;
    this.#dispatcher = this.#newDispatcher();
    void old.close().catch(() => {}); // waits for what runs; watches end by themselves within minutes
  }

  /**
   * Gives up the connections there are: what runs on them fails, watches resume on new ones. For a changed address of
   * the board, after which the old connection is dead without either end knowing, for up to 15 minutes.
   */
  reconnect(): void {
    const old = this.#dispatcher;
    this.#dispatcher = this.#newDispatcher();
    void old.destroy().catch(() => {});
    this.wake();
  }

  /** Calls `fn` each time the server answers after a time in which it did not; returns the unsubscriber. */
  onReachable(fn: () => void): () => void {
    this.#wakers.add(fn);
    return () => this.#wakers.delete(fn);
  }

  /** Tells everyone that waits in a backoff to try now (a tunnel came up, an address changed). */
  wake(): void {
    for (const fn of [...this.#wakers]) fn();
  }

  async request<T>(request: KubeRequest): Promise<T> {
    const [started, dispatcher] = [performance.now(), this.#dispatcher];
    const timeout = AbortSignal.timeout(request.timeoutMs ?? 15_000);
    const signal = request.signal ? AbortSignal.any([request.signal, timeout]) : timeout;
    try {
      const response = await this.#send(request, signal, 0);
      const text = await readBody(response.body);
      if (response.statusCode >= 400) throw statusError(request, response, text);
      return (text === '' || request.discard ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      // Not a word on the shared connection since: it is dead, and everything else on it waits in vain, too.
      if (timeout.aborted && this.#heard < started && this.#dispatcher === dispatcher) this.reconnect();
      throw this.#failure(request, error, timeout.aborted);
    }
  }

  get<T>(path: string, options: Omit<KubeRequest, 'path' | 'method'> = {}): Promise<T> {
    return this.request<T>({ ...options, path });
  }

  create<T>(path: string, body: unknown, options: Omit<KubeRequest, 'path' | 'method' | 'body'> = {}): Promise<T> {
    return this.request<T>({ ...options, method: 'POST', path, body });
  }

  replace<T>(path: string, body: unknown, options: Omit<KubeRequest, 'path' | 'method' | 'body'> = {}): Promise<T> {
    return this.request<T>({ ...options, method: 'PUT', path, body });
  }

  patch<T>(
    path: string,
    patch: PatchKind,
    body: unknown,
    options: Omit<KubeRequest, 'path' | 'method' | 'body' | 'patch'> = {},
  ): Promise<T> {
    return this.request<T>({ ...options, method: 'PATCH', path, patch, body });
  }

  /** `options`: what DeleteOptions says. It goes into the query: over HTTP/2 a DELETE here can't carry a body. */
  delete<T>(
    path: string,
    options: DeleteOptions = {},
    request: Omit<KubeRequest, 'path' | 'method' | 'body'> = {},
  ): Promise<T> {
    const { gracePeriodSeconds, propagationPolicy, preconditions } = options;
    const { uid, resourceVersion } = preconditions ?? {};
    const query = { ...request.query, gracePeriodSeconds, propagationPolicy, uid, resourceVersion };
    return this.request<T>({ ...request, method: 'DELETE', path, query });
  }

  /**
   * One watch, from its response headers until the server ends it (it does so every 5 to 10 minutes). A refused watch
   * throws {@link KubeError} (410 when the resourceVersion is too old); so does one that breaks.
   */
  async *watch<T>(
    request: Omit<KubeRequest, 'method' | 'body' | 'timeoutMs'> & {
      /** The server accepted the watch; its first event may be long in coming. */
      onOpen?: () => void;
    },
  ): AsyncGenerator<WatchEvent<T>> {
    const query = { allowWatchBookmarks: true, ...request.query, watch: true };
    const signal = request.signal ?? new AbortController().signal;
    try {
      const response = await this.#send({ ...request, query }, signal, 30_000);
      if (response.statusCode >= 400) throw statusError(request, response, await readBody(response.body));
      request.onOpen?.();
      for await (const line of lines(response.body)) {
        this.#heard = performance.now();
        yield JSON.parse(line) as WatchEvent<T>;
      }
    } catch (error) {
      throw this.#failure(request, error, false);
    }
  }

  /** A GET whose body is not JSON (`/readyz`, `/version` texts). */
  async text(path: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<string> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? 15_000);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    try {
      const response = await this.#send({ path, accept: '*/*' }, signal, 0);
      const text = await readBody(response.body);
      if (response.statusCode >= 400) throw statusError({ path }, response, text);
      return text;
    } catch (error) {
      throw this.#failure({ path }, error, timeout.aborted);
    }
  }

  async close(): Promise<void> {
    this.#wakers.clear();
    await this.#dispatcher.destroy().catch(() => {});
  }

  #newDispatcher(): Agent {
    return dispatcherFor(this.#credentials, this.#onlyHttp1);
  }

  async #send(request: KubeRequest, signal: AbortSignal, headersTimeout: number): Promise<Dispatcher.ResponseData> {
    const headers: Record<string, string> = {
      accept: request.accept ?? (request.discard ? SHORTEST : 'application/json'),
      'user-agent': this.#userAgent,
    };
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token}`;
    if (request.body !== undefined)
      headers['content-type'] = request.patch ? PATCH_TYPE[request.patch] : 'application/json';
    const options: Dispatcher.RequestOptions = {
      origin: this.server,
      path: request.path + queryString(request.query),
      method: request.method ?? 'GET',
      headers,
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal,
      headersTimeout,
      bodyTimeout: 0,
      // Without it undici keeps a POST or PATCH back while anything runs on the connection, and watches always run.
      idempotent: true,
    };
    const dispatcher = this.#dispatcher;
    const response = await dispatcher.request(options).catch((error) => {
      // Nothing was sent yet: the connection was given up while it was made.
      if (error !== NOT_HTTP2 || signal.aborted) throw error;
      this.#onlyHttp1 = true;
      if (this.#dispatcher === dispatcher) this.#dispatcher = this.#newDispatcher();
      return this.#dispatcher.request(options);
    });
    this.#heard = performance.now();
    this.#setReachable(true);
    const warning = response.headers.warning;
    for (const text of typeof warning === 'string' ? [warning] : (warning ?? []))
      if (this.#warned.changed(text, text))
        this.#log.warn('the API server warns', { path: request.path, warning: text });
    return response;
  }

  #setReachable(reachable: boolean): void {
    const was = this.#reachable;
    this.#reachable = reachable;
    if (reachable && was === false) this.wake();
  }

  #failure(request: Pick<KubeRequest, 'path' | 'signal'>, error: unknown, timedOut: boolean): Error {
    if (error instanceof KubeError) return error;
    if (request.signal?.aborted) return abortError();
    if (error instanceof SyntaxError)
      return new KubeError({
        status: 0,
        code: 'KUBE_MALFORMED',
        // Without the cause: the parser quotes what it stumbled over, and that may be a Secret.
        message: `${request.path}: the answer is not JSON`,
      });
    this.#setReachable(false);
    if (timedOut || errorCode(error) === 'UND_ERR_HEADERS_TIMEOUT')
      return new KubeError({ status: 0, code: 'KUBE_TIMEOUT', message: `${request.path}: no answer in time` });
    return new KubeError({
      status: 0,
      code: 'KUBE_UNREACHABLE',
      message: `${request.path}: ${describeError(error)}`,
      cause: error,
    });
  }
}

/** The peer did not agree to HTTP/2; always this very object, so that it can be told from other errors. */
const NOT_HTTP2 = new Error('the server speaks HTTP/1.1 only');

function dispatcherFor(credentials: KubeCredentials, onlyHttp1: boolean): Agent {
  const { ca, cert, key } = credentials;
  const connect = buildConnector({
    allowH2: !onlyHttp1,
    ca,
    ...(cert && key ? { cert, key } : {}),
    timeout: 10_000,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  });
  // Go servers drop idle connections after minutes; the lease every 10 s keeps one in use.
  const idle = { keepAliveTimeout: 90_000, keepAliveMaxTimeout: 120_000 };
  if (onlyHttp1) return new Agent({ ...idle, connect });
  return new Agent({
    ...idle,
    // One HTTP/2 connection carries every watch and request: on an LTE link each further one costs keep-alive probes, and
    // here some 2 MB of TLS buffers. The server allows 100 streams; further connections are opened only past that.
    connections: 4,
    pipelining: 90,
    // With HTTP/1.1 that would queue every request behind an endless watch on the same connection.
    connect: (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error !== null) return callback(error, null);
        if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') return callback(null, socket);
        socket.destroy();
        callback(NOT_HTTP2, null);
      }),
  });
}

function queryString(query: KubeRequest['query']): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query ?? {})) if (value !== undefined) params.set(key, String(value));
  const text = params.toString();
  return text === '' ? '' : `?${text}`;
}

async function readBody(body: AsyncIterable<Buffer> & { destroy(): unknown }): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_BODY) {
      body.destroy();
      throw new KubeError({
        status: 0,
        code: 'KUBE_TOO_LARGE',
        message: `the answer is larger than ${MAX_BODY} bytes`,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function* lines(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const part = chunk.subarray(from, at);
      const line = held.length > 0 ? Buffer.concat([...held, part]) : part;
      held = [];
      size = 0;
      from = at + 1;
      if (line.length > 0) yield line.toString('utf8');
    }
    if (from < chunk.length) {
      held.push(chunk.subarray(from));
      size += chunk.length - from;
      if (size > MAX_EVENT)
        throw new KubeError({
          status: 0,
          code: 'KUBE_TOO_LARGE',
          message: `a watch event is larger than ${MAX_EVENT} bytes`,
        });
    }
  }
}

function statusError(request: Pick<KubeRequest, 'path'>, response: Dispatcher.ResponseData, text: string): KubeError {
  let status: { message?: unknown; reason?: unknown } = {};
  let plain = text.trim().slice(0, 300);
  try {
    status = (JSON.parse(text) ?? {}) as typeof status;
  } catch {
    // Old servers and proxies answer in plain text.
    if (/protobuf/.test(String(response.headers['content-type']))) plain = '';
  }
  const retryAfter = Number(response.headers['retry-after']);
  return new KubeError({
    status: response.statusCode,
    message: typeof status.message === 'string' ? status.message : `${request.path}: ${plain || response.statusCode}`,
    ...(typeof status.reason === 'string' ? { reason: status.reason } : {}),
    ...(Number.isFinite(retryAfter) && retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
  });
}
