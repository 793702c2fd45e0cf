import type { Pod } from '../../kube/index.ts';

interface HostPort {
  ip: string;
  port: number;
  protocol: string;
}

function hostPorts(pod: Pod): HostPort[] {
  const sidecars = (pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  return [...pod.spec.containers, ...sidecars].flatMap(({ ports = [] }) =>
    ports
      .map(({ hostPort, hostIP, protocol, containerPort }) => ({
        ip: hostIP || '0.0.0.0',
        port: hostPort || (pod.spec.hostNetwork ? containerPort : 0),
        protocol: protocol || 'TCP',
      }))
      .filter(({ port }) => port > 0),
  );
}

/** `::` stands for itself only, so that a port can be published once for each family (kube-scheduler HostPortInfo). */
const any = (ip: string) => ip === '0.0.0.0';

/** True if a host port the pod asks for is taken by another pod of the node. */
export function portsTaken(pod: Pod, active: readonly Pod[]): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  const taken = active.flatMap(hostPorts);
  return wanted.some((a) =>
    taken.some((b) => a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || any(a.ip) || any(b.ip))),
  );
}
