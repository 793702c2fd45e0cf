import { hostPort } from '../../core/index.ts';
import type { Service } from '../../kube/index.ts';

/**
 * The variables that name a namespace's Services (kubelet pkg/kubelet/envvars, and getServiceEnvVarMap). Without links
 * only the API server's `kubernetes` Service of `default` is named.
 */
export function serviceVariables(
  services: readonly Service[],
  namespace: string,
  enableServiceLinks: boolean,
): Map<string, string> {
  const chosen = new Map<string, Service>();
  for (const service of services) {
    const { name, namespace: where } = service.metadata ?? {};
    const ip = service.spec?.clusterIP;
    if (!name || !ip || ip === 'None') continue;
    if (where === namespace && enableServiceLinks) chosen.set(name, service);
    else if (where === 'default' && name === 'kubernetes' && !chosen.has(name)) chosen.set(name, service);
  }
  const out = new Map<string, string>();
  for (const [name, service] of [...chosen].sort(([a], [b]) => (a < b ? -1 : 1))) describe(name, service, out);
  return out;
}

const variable = (text: string) => text.replaceAll('-', '_').toUpperCase();

function describe(name: string, service: Service, out: Map<string, string>): void {
  const prefix = variable(name);
  const ip = service.spec?.clusterIP as string;
  const ports = service.spec?.ports ?? [];
  out.set(`${prefix}_SERVICE_HOST`, ip);
  if (ports[0]) out.set(`${prefix}_SERVICE_PORT`, String(ports[0].port));
  for (const port of ports) if (port.name) out.set(`${prefix}_SERVICE_PORT_${variable(port.name)}`, String(port.port));
  for (const [i, port] of ports.entries()) {
    const protocol = port.protocol || 'TCP';
    const url = `${protocol.toLowerCase()}://${hostPort(ip, port.port)}`;
    if (i === 0) out.set(`${prefix}_PORT`, url);
    const link = `${prefix}_PORT_${port.port}_${protocol.toUpperCase()}`;
    out.set(link, url);
    out.set(`${link}_PROTO`, protocol.toLowerCase());
    out.set(`${link}_PORT`, String(port.port));
    out.set(`${link}_ADDR`, ip);
  }
}
