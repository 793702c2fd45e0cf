import { describeError, hostPort, isAbort } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import type { Probe } from '../../../kube/index.ts';
import { execVerdict, probeCommand } from './exec.ts';
import { resolvePort } from './spec.ts';
import type { ProbeTarget } from './types.ts';

export interface Verdict {
  /** `error`: it could not be asked, which counts as neither. */
  result: 'success' | 'failure' | 'error';
  /** Ends up in an event. */
  output: string;
  /** Of a success that people should know more about. */
  warning?: string;
  /** What an error's event calls the outcome; `unknown` when left out. */
  state?: 'failure';
}

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
    if (probe.exec) {
      const command = probeCommand(probe.exec.command, container);
      return await execVerdict(runtime, { id: observed.id, command, timeoutMs, signal });
    }
    if (probe.httpGet) {
      const { httpVerdict } = await import('./http.ts');
      const port = resolvePort(probe.httpGet.port, container);
      const host = probe.httpGet.host || podIp || '';
      return await httpVerdict({ get: probe.httpGet, host, port, timeoutMs, signal });
    }
    if (probe.tcpSocket) {
      const { tcpVerdict } = await import('./tcp.ts');
      const port = resolvePort(probe.tcpSocket.port, container);
      return await tcpVerdict(probe.tcpSocket.host || podIp || '', port, timeoutMs, signal);
    }
    if (grpc) {
      const { grpcVerdict } = await import('./grpc.ts');
      return await grpcVerdict(hostPort(podIp ?? '', grpc.port ?? 0), grpc.service ?? '', timeoutMs, signal);
    }
    const { name, namespace, uid } = target.pod.metadata;
    return { result: 'error', output: `missing probe handler for ${name}_${namespace}(${uid}):${container.spec.name}` };
  } catch (error) {
    if (isAbort(error)) throw error;
    return { result: 'error', output: describeError(error) };
  }
}
