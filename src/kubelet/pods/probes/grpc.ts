import { type ClientHttp2Session, connect } from 'node:http2';
import { abortError } from '../../../core/index.ts';
import { goDuration } from '../restart.ts';
import type { Verdict } from './check.ts';

const STATUS = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
/** gRPC's codes as Go names them. */
const CODES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];
const MAX_ANSWER = 64 * 1024;
/** gRPC's first pause before it connects anew. */
const RECONNECT_MS = 1_000;

/** grpc.health.v1.Health/Check over plain HTTP/2. Texts and the wait for a connection: upstream pkg/probe/grpc. */
export function grpcVerdict(
  address: string,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError());
      return;
    }
    let session: ClientHttp2Session | undefined;
    let connected = false;
    let again: NodeJS.Timeout | undefined;
    const end = (settle: () => void) => {
      clearTimeout(timer);
      clearTimeout(again);
      signal.removeEventListener('abort', onAbort);
      session?.destroy();
      settle();
    };
    const verdict = (result: Verdict['result'], output: string) => end(() => resolve({ result, output }));
    const onAbort = () => end(() => reject(abortError()));
    signal.addEventListener('abort', onAbort, { once: true });
    const within = goDuration(timeoutMs);
    const timer = setTimeout(() => {
      if (connected) verdict('failure', `timeout: health rpc did not complete within ${within}`);
      else
        verdict(
          'failure',
          `timeout: failed to connect service "${address}" within ${within}: context deadline exceeded`,
        );
    }, timeoutMs);
    const dial = () => {
      session = connect(`http://${address}`);
      session.on('connect', () => {
        connected = true;
        if (session) ask(session, service, verdict);
      });
      session.on('error', (error) => {
        if (connected) verdict('failure', rpcFailure(14, `error reading from server: ${error.message}`));
        // A server that is not up yet may be within the time.
        else again = setTimeout(dial, RECONNECT_MS);
      });
    };
    dial();
  });
}

function ask(
  session: ClientHttp2Session,
  service: string,
  verdict: (result: Verdict['result'], output: string) => void,
) {
  const fail = (output: string) => verdict('failure', output);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
    'user-agent': 'kube-probe/1.36',
  });
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_ANSWER) fail(rpcFailure(8, 'received message larger than max'));
    else chunks.push(chunk);
  });
  stream.on('error', (error) => fail(rpcFailure(14, error.message)));
  let trailers: Record<string, unknown> = {};
  stream.on('response', (headers) => {
    trailers = headers;
  });
  stream.on('trailers', (headers) => {
    trailers = { ...trailers, ...headers };
  });
  stream.on('end', () => {
    const http = Number(trailers[':status'] ?? 200);
    if (trailers['grpc-status'] === undefined && http !== 200)
      return fail(rpcFailure(http === 404 ? 12 : 2, `unexpected HTTP status code received from server: ${http}`));
    const code = Number(trailers['grpc-status'] ?? 0);
    if (code !== 0) return fail(rpcFailure(code, decodeMessage(trailers['grpc-message'])));
    const body = Buffer.concat(chunks).subarray(5);
    // HealthCheckResponse: field 1, varint.
    const status = body[0] === 0x08 ? (body[1] ?? 0) : 0;
    if (status === 1) return verdict('success', 'service healthy');
    fail(`service unhealthy (responded with "${STATUS[status] ?? status}")`);
  });
  stream.end(frame(service));
}

function rpcFailure(code: number, message: string): string {
  if (code === 12)
    return `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${message}`;
  return `error: health rpc probe failed: rpc error: code = ${CODES[code] ?? `Code(${code})`} desc = ${message}`;
}

/** Percent-encoded by the protocol. */
function decodeMessage(raw: unknown): string {
  const text = typeof raw === 'string' ? raw : '';
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** HealthCheckRequest{service} in gRPC's length-prefixed frame. */
function frame(service: string): Buffer {
  const name = Buffer.from(service);
  const varint: number[] = [];
  for (let n = name.length; ; n >>>= 7) {
    varint.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) break;
  }
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, ...varint]), name]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
