import { AgentError, parseQuantity } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';

/**
 * Throws `POD_BANDWIDTH` with the runtime's own text if it could not read the pod's bandwidth annotations. Told before
 * the runtime is asked: containerd reads them again to take the network down, so that a sandbox it has begun with such
 * annotations could never be removed (containerd internal/cri/bandwidth; kubernetes pkg/util/bandwidth).
 */
export function assertBandwidth(pod: Pod): void {
  if (pod.spec.hostNetwork) return;
  for (const way of ['ingress', 'egress']) {
    const text = pod.metadata.annotations?.[`kubernetes.io/${way}-bandwidth`];
    if (text === undefined) continue;
    const bits = bitsOf(text);
    if (bits < 1e3) throw fault('resource is unreasonably small (< 1kbit)');
    if (bits > 1e15) throw fault('resource is unreasonably large (> 1Pbit)');
  }
}

function bitsOf(text: string): number {
  try {
    return parseQuantity(text);
  } catch {
    throw fault("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  }
}

function fault(text: string): AgentError {
  return new AgentError({ code: 'POD_BANDWIDTH', message: `reading pod bandwidth annotations: ${text}` });
}
