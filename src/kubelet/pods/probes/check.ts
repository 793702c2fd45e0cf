import { describeError, hostPort, isAbort } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import type { Probe } from '../../../kube/index.ts';
import { portOf } from './spec.ts';
import type { ProbeTarget } from './types.ts';

/** `error`: it could not be asked at all, which counts as neither. `output` ends up in an event. */
export type Verdict = { result: 'success' | 'failure' | 'error'; output: string };

/** A program's output in an event is cut there (upstream probe/exec/exec.go). */
const MAX_OUTPUT = 10 * 1024;

/** Asks once; never throws but for the signal. */
export async function check(
  probe: Probe,
  target: ProbeTarget,
  options: { runtime: RuntimeService; timeoutMs: number; signal: AbortSignal },
): Promise<Verdict> {
  const { runtime, timeoutMs, signal } = options;
  const { container, observed, podIp } = target;
  const grpc = (probe as { grpc?: { port?: number; service?: string } }).grpc;
  try {
    if (probe.exec) return await checkExec(runtime, observed.id, probe.exec.command ?? [], timeoutMs, signal);
    if (probe.httpGet) {
      const { httpVerdict } = await import('./http.ts');
      const port = portOf(probe.httpGet.port, container);
      if (port === undefined) return { result: 'error', output: `couldn't find port: ${probe.httpGet.port}` };
      return await httpVerdict({
        get: probe.httpGet,
        host: probe.httpGet.host || podIp || '',
        port,
        timeoutMs,
        signal,
      });
    }
    if (probe.tcpSocket) {
      const { tcpVerdict } = await import('./tcp.ts');
      const port = portOf(probe.tcpSocket.port, container);
      if (port === undefined) return { result: 'error', output: `couldn't find port: ${probe.tcpSocket.port}` };
      return await tcpVerdict(probe.tcpSocket.host || podIp || '', port, timeoutMs, signal);
    }
    if (grpc) {
      const { grpcVerdict } = await import('./grpc.ts');
      return await grpcVerdict(hostPort(podIp ?? '', grpc.port ?? 0), grpc.service ?? '', timeoutMs, signal);
    }
    return { result: 'error', output: 'missing probe handler' };
  } catch (error) {
    if (isAbort(error)) throw error;
    return { result: 'error', output: describeError(error) };
  }
}

async function checkExec(
  runtime: RuntimeService,
  id: string,
  command: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  try {
    // The runtime keeps the time; a little more is left for its answer.
    const options = { signal, timeoutMs: timeoutMs + 10_000 };
    const { exitCode, stdout, stderr } = await runtime.execSync(id, command, Math.ceil(timeoutMs / 1000), options);
    const output = Buffer.concat([stdout, stderr]).subarray(0, MAX_OUTPUT).toString('utf8');
    return { result: exitCode === 0 ? 'success' : 'failure', output };
  } catch (error) {
    if (isAbort(error)) throw error;
    const text = describeError(error);
    // Only a program that does not end in time fails the probe; one that can not be started says nothing (upstream probe/exec).
    const failed = /timed out|timeout|deadline/i.test(text);
    return { result: failed ? 'failure' : 'error', output: text };
  }
}
