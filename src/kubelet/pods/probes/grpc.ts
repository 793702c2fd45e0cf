import { connect } from 'node:http2';
import { abortError } from '../../../core/index.ts';
import type { Verdict } from './check.ts';

const STATUS = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const MAX_ANSWER = 64 * 1024;

/** grpc.health.v1.Health/Check over plain HTTP/2. Texts: upstream pkg/probe/grpc. */
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
    const session = connect(`http://${address}`);
    let connected = false;
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      session.destroy();
      settle();
    };
    const fail = (output: string) => end(() => resolve({ result: 'failure', output }));
    const onAbort = () => end(() => reject(abortError()));
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(() => {
      const what = connected ? 'health rpc did not complete' : `failed to connect service "${address}"`;
      fail(`timeout: ${what} within ${timeoutMs / 1000}s${connected ? '' : ': context deadline exceeded'}`);
    }, timeoutMs);
    session.on('connect', () => {
      connected = true;
    });
    session.on('error', (error) => fail(`error: failed to connect service at "${address}": ${error.message}`));
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
      if (size > MAX_ANSWER) fail('error: health rpc failed: answer too large');
      else chunks.push(chunk);
    });
    stream.on('error', (error) => fail(`error: health rpc failed: ${error.message}`));
    let trailers: Record<string, unknown> = {};
    stream.on('response', (headers) => {
      trailers = headers;
    });
    stream.on('trailers', (headers) => {
      trailers = { ...trailers, ...headers };
    });
    stream.on('end', () => {
      const code = Number(trailers['grpc-status'] ?? 0);
      if (code === 12)
        return fail('error: this server does not implement the grpc health protocol (grpc.health.v1.Health)');
      if (code !== 0) return fail(`error: health rpc failed: ${trailers['grpc-message'] ?? `code ${code}`}`);
      const body = Buffer.concat(chunks).subarray(5);
      // HealthCheckResponse: field 1, varint.
      const status = body[0] === 0x08 ? (body[1] ?? 0) : 0;
      if (status === 1) return end(() => resolve({ result: 'success', output: 'service healthy' }));
      fail(`service unhealthy (responded with "${STATUS[status] ?? status}")`);
    });
    stream.end(frame(service));
  });
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
