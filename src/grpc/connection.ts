import * as grpc from '@grpc/grpc-js';
import { type AgentError, abortError } from '../core/index.ts';
import { decode, encode, type Schema } from './codec.ts';

/** One method of a gRPC service: its path and the names of its messages in a schema. */
export interface Method {
  readonly path: string;
  readonly schema: Schema;
  readonly request: string;
  readonly response: string;
}

/** Names the methods of one service, such as `csi.v1.Node`. What answers nothing answers the schema's `Empty`. */
export function methodsOf(service: string, schema: Schema) {
  return (name: string, request: string, response = 'Empty'): Method => ({
    path: `/${service}/${name}`,
    schema,
    request,
    response,
  });
}

/** gRPC metadata: lower-case names. */
export type Headers = Readonly<Record<string, string>>;

export type LinkState = 'idle' | 'connecting' | 'ready' | 'down' | 'closed';

export interface UnaryOptions {
  signal?: AbortSignal;
  timeoutMs?: number;
  headers?: Headers;
}

export interface StreamOptions {
  signal: AbortSignal;
  headers?: Headers;
  onMessage: (message: unknown) => void;
}

/**
 * One HTTP/2 connection to the socket of a runtime or driver, shared by all services. It connects at the first call and
 * again by itself; calls while the socket can't be reached fail at once with status UNAVAILABLE. Failures are what the
 * `failure` of {@link ConnectionOptions} makes of them; an aborted call throws an AbortError.
 */
export interface Connection {
  readonly socket: string;
  unary(method: Method, request: object, options?: UnaryOptions): Promise<unknown>;
  /** Resolves when the other side ends the stream, rejects as a call does. */
  stream(method: Method, request: object, options: StreamOptions): Promise<void>;
  /** Drops the connection and its reconnect pause: the next call connects anew. For a runtime just (re)started. */
  reconnect(): void;
  state(): LinkState;
  /** Resolves when {@link state} is no longer `from`. */
  stateChange(from: LinkState, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The kubelet's runtimeRequestTimeout. */
const DEFAULT_TIMEOUT_MS = 120_000;
/** execSync may answer twice 16 MiB (stdout and stderr); a list of containers of a full node is far below. */
const MAX_MESSAGE = 40 * 1024 * 1024;

const CHANNEL_OPTIONS: grpc.ChannelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': MAX_MESSAGE,
  'grpc.max_send_message_length': MAX_MESSAGE,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  // The socket costs nothing while idle, and a state that falls to idle by itself would look like a loss.
  'grpc.client_idle_timeout_ms': 2 ** 31 - 1,
};

export interface ConnectionOptions {
  /** A path, with or without `unix://` (`unix:/path` too). */
  socket: string;
  /** What a failed call throws. `status`: gRPC's name, such as `NOT_FOUND`. */
  failure(status: string, message: string, path: string): AgentError;
}

export function createConnection({ socket, failure }: ConnectionOptions): Connection {
  const path = socketPath(socket);
  const failed = (error: grpc.ServiceError) =>
    failure(grpc.status[error.code] ?? 'UNKNOWN', error.details || error.message, path);
  const open = () => new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure(), CHANNEL_OPTIONS);
  let client = open();
  let closed = false;
  const wakers = new Set<() => void>();

  const state = (): LinkState => (closed ? 'closed' : stateName(client.getChannel().getConnectivityState(false)));
  const replace = (next: grpc.Client | undefined) => {
    const old = client;
    if (next) client = next;
    else closed = true;
    // Calls under way on the old connection end by themselves: close() lets them finish or fail.
    old.close();
    for (const wake of [...wakers]) wake();
  };

  return {
    socket: path,
    unary(method, request, options = {}) {
      const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(abortError());
        const onAbort = () => call.cancel();
        const call = client.makeUnaryRequest<object, unknown>(
          method.path,
          (value) => encode(method.schema, method.request, value),
          (bytes) => decode(method.schema, method.response, bytes),
          request,
          metadataFor(options.headers),
          timeoutMs === Number.POSITIVE_INFINITY ? {} : { deadline: Date.now() + timeoutMs },
          (error, value) => {
            signal?.removeEventListener('abort', onAbort);
            if (error) reject(signal?.aborted ? abortError() : failed(error));
            else resolve(value);
          },
        );
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
    stream(method, request, { signal, headers, onMessage }) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(abortError());
        const call = client.makeServerStreamRequest<object, unknown>(
          method.path,
          (value) => encode(method.schema, method.request, value),
          (bytes) => decode(method.schema, method.response, bytes),
          request,
          metadataFor(headers),
          {},
        );
        const onAbort = () => call.cancel();
        signal.addEventListener('abort', onAbort, { once: true });
        const settle = (done: () => void) => {
          signal.removeEventListener('abort', onAbort);
          done();
        };
        call.on('data', onMessage);
        call.on('error', (error: grpc.ServiceError) =>
          settle(() => reject(signal.aborted ? abortError() : failed(error))),
        );
        call.on('end', () => settle(resolve));
      });
    },
    reconnect() {
      if (!closed) replace(open());
    },
    state,
    stateChange(from, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(abortError());
        let settled = false;
        const settle = () => {
          settled = true;
          wakers.delete(check);
          signal.removeEventListener('abort', onAbort);
        };
        const onAbort = () => {
          settle();
          reject(abortError());
        };
        // Watches are one-shot and belong to one channel, which reconnect() may have replaced: so look again each time.
        const check = () => {
          if (settled) return;
          if (state() !== from) {
            settle();
            resolve();
          } else {
            const channel = client.getChannel();
            channel.watchConnectivityState(channel.getConnectivityState(false), Number.POSITIVE_INFINITY, check);
          }
        };
        signal.addEventListener('abort', onAbort, { once: true });
        wakers.add(check);
        check();
      });
    },
    close() {
      if (!closed) replace(undefined);
    },
  };
}

/** The file path of an endpoint such as `unix:///run/x.sock`. */
export function socketPath(endpoint: string): string {
  return endpoint.replace(/^unix:(\/\/)?(?=\/)/, '');
}

function stateName(state: grpc.connectivityState): LinkState {
  switch (state) {
    case grpc.connectivityState.READY:
      return 'ready';
    case grpc.connectivityState.CONNECTING:
      return 'connecting';
    case grpc.connectivityState.TRANSIENT_FAILURE:
      return 'down';
    case grpc.connectivityState.SHUTDOWN:
      return 'closed';
    default:
      return 'idle';
  }
}

function metadataFor(headers: Headers = {}): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
