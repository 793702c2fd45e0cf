import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import {
  type AgentError,
  type Clock,
  type Component,
  describeError,
  type Logger,
  systemClock,
} from '../../core/index.ts';
import type { RuntimeEvents } from '../../cri/types.ts';
import type { KubeClient, Pod } from '../../kube/index.ts';
import { readAnchors } from './auth/certificate.ts';
import { createGate, type Gate } from './auth/gate.ts';
import { BASIC_CHECKS, type HealthCheck, healthz } from './healthz.ts';
import { createListener, type Listener } from './listener.ts';
import { serveLogs } from './logs/serve.ts';
import { type ContainerQuery, type FoundContainer, runningContainer, type ServerRuntime } from './pods.ts';
import { type Body, failureBody, HttpFailure, send, sendRaw } from './reply.ts';
import { isStreamingPath, type Route, route } from './route.ts';
import { serveRun } from './run.ts';
import { runningPods } from './running-pods.ts';
import { serveStream } from './streams/serve.ts';

/** PEM texts of the serving certificate (leaf first) and its key. */
export interface ServingPair {
  cert: string;
  key: string;
}

/** The documents about numbers: each answers a GET, made when asked for. What is left out is a 404. */
export type Documents = Partial<
  Record<Extract<Route, { kind: 'stats' }>['document'], (query: URLSearchParams) => Promise<Body>>
>;

export interface KubeletServerOptions {
  /** `0.0.0.0`, `::` or one address. */
  bindAddress: string;
  /** 10250 when left out; 0 = any free one. */
  port?: number;
  nodeName: string;
  /** Read at start and at each `reload()`. */
  serving(): ServingPair;
  /** PEM bundle whose certificates vouch for clients; read at start and at each `reload()`. */
  clientCa(): string;
  /** The node's own identity at the API server, for TokenReview and SubjectAccessReview. */
  kube: Pick<KubeClient, 'create'>;
  /** The pods of this node with the statuses as they are now, terminating ones included. */
  pods(): readonly Pod[];
  /** The uid of the pod that runs where a caller may know another (the mirror of a static pod); the same when left out. */
  translateUid?(uid: string): string;
  /** Where a command goes; asked of the runtime when left out. */
  runningContainer?(query: ContainerQuery): Promise<FoundContainer | undefined>;
  runtime: ServerRuntime;
  /** Tells followers of logs at once that their container ended; without it they look every 5 s. */
  events?: RuntimeEvents;
  /** `/var/log/pods` when left out. */
  podLogsRoot?: string;
  /** Besides `ping` and `log`; the kubelet has one named `syncloop`. */
  checks?: readonly HealthCheck[];
  documents?: Documents;
  /** False: no logs, no commands (enableDebuggingHandlers). */
  debugging?: boolean;
  log: Logger;
  clock?: Clock;
}

/**
 * Bounds what callers can make this process hold. A request's head may be long because exec puts the whole command into
 * the URL; the time for it is short because nobody is known before it is read.
 */
const MAX_CONNECTIONS = 256;
const MAX_HEAD = 256 * 1024;
const HEAD_MS = 20_000;
/**
 * Requests of one connection that wait for their answers. Node hands them all over as they come, and behind each may be
 * a question to the API server; callers of a kubelet wait for each answer.
 */
const MAX_WAITING = 8;
const HANDSHAKE_MS = 20_000;
/** As the kubelet's: callers keep a connection for the next scrape. */
const IDLE_MS = 90_000;

/** What enableDebuggingHandlers turns off (kubelet server.go, InstallDebuggingDisabledHandlers). */
const DEBUGGING = new Set<Route['kind']>(['run', 'exec', 'attach', 'portForward', 'logs', 'runningPods']);

/** The kubelet's HTTPS API. Nothing in it runs while nobody asks. */
export class KubeletServer implements Component {
  readonly #options: KubeletServerOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #gate: Gate;
  readonly #running: (query: ContainerQuery) => Promise<FoundContainer | undefined>;
  readonly #checks: readonly HealthCheck[];
  readonly #streams = new Set<Socket>();
  readonly #waiting = new WeakMap<Socket, number>();
  readonly #ending = new AbortController();
  #anchors: readonly X509Certificate[] = [];
  #server: Server | undefined;
  #listener: Listener | undefined;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log;
    this.#gate = createGate({ ...options, anchors: () => this.#anchors, clock: this.#clock });
    this.#running = options.runningContainer ?? ((query) => runningContainer(options.runtime, query));
    this.#checks = [...BASIC_CHECKS, ...(options.checks ?? [])];
  }

  /** Why it does not listen; undefined while all is well. */
  get error(): AgentError | undefined {
    return this.#listener?.error;
  }

  /** Where it listens; undefined while it does not. */
  get address(): { host: string; port: number } | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined;
    return address ? { host: address.address, port: address.port } : undefined;
  }

  /** Listens; while the port is taken it tries again every 5 s, says so once and keeps the reason in `error`. */
  async start(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const server = createServer(
      {
        ...this.#tlsOptions(),
        requestCert: true,
        // Callers with a token have no certificate; who has neither gets a 401.
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: HANDSHAKE_MS,
        headersTimeout: HEAD_MS,
        keepAliveTimeout: IDLE_MS,
        connectionsCheckingInterval: HEAD_MS,
        maxHeaderSize: MAX_HEAD,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 30_000,
        shouldUpgradeCallback: (request) => isStreamingPath(request.url ?? ''),
      },
      (request, response) => void this.#onRequest(request, response),
    );
    server.maxConnections = MAX_CONNECTIONS;
    server.on(
      'upgrade',
      (request: IncomingMessage, socket: Socket, head: Buffer) => void this.#onUpgrade(request, socket, head),
    );
    this.#server = server;
    const { bindAddress: host, port = 10_250 } = this.#options;
    const { signal: ended } = this.#ending;
    this.#listener = createListener({
      server,
      what: 'the kubelet API',
      host,
      port,
      clock: this.#clock,
      log: this.#log,
    });
    signal.addEventListener('abort', () => void this.stop(), { once: true, signal: ended });
    await this.#listener.start(ended);
  }

  /** Takes a renewed certificate or client CA: new connections get it, open ones go on as they are. */
  reload(): void {
    try {
      this.#server?.setSecureContext(this.#tlsOptions());
      this.#server?.closeIdleConnections();
    } catch (error) {
      this.#log.error('the renewed serving certificate is unusable, the old one stays', {
        error: describeError(error),
      });
    }
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined || this.#ending.signal.aborted) return;
    this.#ending.abort();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    for (const socket of this.#streams) socket.destroy();
    await closed;
  }

  #tlsOptions(): SecureContextOptions {
    const { cert, key } = this.#options.serving();
    const ca = this.#options.clientCa();
    this.#anchors = readAnchors(ca);
    return { cert, key, ca, minVersion: 'TLSv1.2' };
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    const waiting = (this.#waiting.get(socket) ?? 0) + 1;
    this.#waiting.set(socket, waiting);
    if (waiting > MAX_WAITING) {
      socket.destroy();
      return;
    }
    const gone = new AbortController();
    response.once('close', () => {
      this.#waiting.set(socket, (this.#waiting.get(socket) ?? 1) - 1);
      gone.abort();
    });
    response.on('error', () => gone.abort());
    request.resume();
    // After an upgrade that was not taken, Node reads no further request of the connection.
    if (request.headers.upgrade !== undefined) response.shouldKeepAlive = false;
    try {
      const target = await this.#gate(request);
      const to = this.#route(request.method ?? '', target.path);
      const body = await this.#answer(to, target.query, response, gone.signal);
      if (body !== undefined) send(response, body);
    } catch (error) {
      if (!gone.signal.aborted) this.#refuse(error, (body) => send(response, body));
    }
  }

  #route(method: string, path: string): Route {
    const to = route(method, path);
    if (this.#options.debugging === false && DEBUGGING.has(to.kind))
      return { kind: 'none', status: 405, text: 'Debug endpoints are disabled.\n' };
    if (!('uid' in to) || to.uid === undefined) return to;
    return { ...to, uid: this.#options.translateUid?.(to.uid) ?? to.uid };
  }

  async #answer(
    to: Route,
    query: URLSearchParams,
    response: ServerResponse,
    signal: AbortSignal,
  ): Promise<Body | undefined> {
    const { pods, runtime, events, documents } = this.#options;
    switch (to.kind) {
      case 'healthz':
        return healthz({ checks: this.#checks, check: to.check, query, log: this.#log });
      case 'pods':
        return podList(pods());
      case 'runningPods':
        return podList(await runningPods(runtime));
      case 'logs': {
        const podLogsRoot = this.#options.podLogsRoot ?? '/var/log/pods';
        await serveLogs(
          { pods, runtime, events, podLogsRoot, clock: this.#clock },
          { target: to, query, response, signal },
        );
        return undefined;
      }
      case 'run':
        return serveRun({ pods, running: this.#running, runtime }, { target: to, query, signal });
      case 'exec':
      case 'attach':
      case 'portForward':
        return { status: 500, body: 'Upgrade request required\n' };
      case 'stats': {
        const make = documents?.[to.document];
        return make === undefined ? { status: 404, body: '404: Page Not Found' } : make(query);
      }
      case 'none':
        return { status: to.status, body: to.text };
    }
  }

  async #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    this.#streams.add(socket);
    socket.once('close', () => this.#streams.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(0);
    try {
      const target = await this.#gate(request);
      const to = this.#route(request.method ?? '', target.path);
      if (to.kind === 'exec' || to.kind === 'attach' || to.kind === 'portForward') {
        const { pods, runtime } = this.#options;
        await serveStream({ pods, running: this.#running, runtime }, to, {
          message: request,
          query: target.query,
          socket,
          head,
        });
      } else sendRaw(socket, to.kind === 'none' ? { status: to.status, body: to.text } : notFound);
    } catch (error) {
      this.#refuse(error, (body) => sendRaw(socket, body));
    }
  }

  #refuse(error: unknown, answer: (body: Body) => void): void {
    const body = failureBody(error);
    // What is wrong with one request, its caller is told; only what nobody foresaw belongs into the log.
    const level = error instanceof HttpFailure ? 'debug' : 'warn';
    this.#log[level]('a request to the kubelet API failed', { status: body.status, error: describeError(error) });
    answer(body);
  }
}

const notFound: Body = { status: 404, body: '404: Page Not Found' };

function podList(items: readonly object[]): Body {
  return {
    status: 200,
    type: 'application/json',
    body: JSON.stringify({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items }),
  };
}
