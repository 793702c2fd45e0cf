import { AgentError, type Cidr, type Family, formatCidr, networkAddress, parseCidr } from '../core/index.ts';
import type { FlannelServerConfig } from './options.ts';

/** flannel's own configuration, as in net-conf.json. */
export interface NetConf {
  /** The cluster's pod networks; a missing family is switched off. */
  networks: Partial<Record<Family, Cidr>>;
  backend: Backend;
}

export type Backend =
  /** `port` and `mtu` 0: kernel default and the uplink's. */
  { type: 'vxlan'; vni: number; port: number; mtu: number; directRouting: boolean } | { type: 'host-gw' };

/**
 * net-conf.json as k3s writes it (pkg/agent/flannel/setup.go). Throws `FLANNEL_BACKEND` for a backend that is not
 * supported here.
 */
export function netConfText(config: Pick<FlannelServerConfig, 'backend' | 'clusterCidrs'>): string {
  const of = (family: Family) => config.clusterCidrs.map(parseCidr).find((cidr) => cidr.family === family);
  const [v4, v6] = [of(4), of(6)];
  if (config.backend !== 'vxlan' && config.backend !== 'host-gw') throw unsupported(config.backend);
  const conf = {
    Network: v4 ? formatCidr(v4) : '0.0.0.0/0',
    EnableIPv6: v6 !== undefined,
    EnableIPv4: v4 !== undefined,
    IPv6Network: v6 ? formatCidr(v6) : '::/0',
    Backend: { Type: config.backend },
  };
  return `${JSON.stringify(conf, null, '\t')}\n`;
}

/** Reads a net-conf.json, keys in any case as Go does. Throws `FLANNEL_CONF` naming the field or `FLANNEL_BACKEND`. */
export function parseNetConf(text: string, path: string): NetConf {
  const bad = (what: string, cause?: unknown) =>
    new AgentError({ code: 'FLANNEL_CONF', message: `${path}: ${what}`, ...(cause === undefined ? {} : { cause }) });
  let conf: Fields;
  try {
    conf = lowerKeys(JSON.parse(text));
  } catch (cause) {
    throw bad('is not JSON', cause);
  }
  const backend = lowerKeys(conf.backend ?? {});
  const networks: Partial<Record<Family, Cidr>> = {};
  const block = (field: string, family: Family) => {
    const value = conf[field];
    let cidr: Cidr | undefined;
    try {
      cidr = typeof value === 'string' ? parseCidr(value) : undefined;
    } catch {}
    if (cidr?.family !== family) throw bad(`"${field}" must be an IPv${family} block`);
    networks[family] = { ...cidr, address: networkAddress(cidr) };
  };
  if (conf.enableipv4 !== false) block('network', 4);
  if (conf.enableipv6 === true) block('ipv6network', 6);
  if (networks[4] === undefined && networks[6] === undefined) throw bad('both address families are off');
  const type = String(backend.type ?? 'udp');
  const number = (field: string, fallback: number, max: number) => {
    const value = backend[field] ?? fallback;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max)
      throw bad(`backend field "${field}" must be a whole number from 0 to ${max}`);
    return value;
  };
  switch (type.toLowerCase()) {
    case 'vxlan':
      if (backend.gbp === true || backend.learning === true)
        throw bad('the backend fields "GBP" and "Learning" are not supported');
      return {
        networks,
        backend: {
          type: 'vxlan',
          vni: number('vni', 1, 0xffffff),
          port: number('port', 0, 65535),
          mtu: number('mtu', 0, 65535),
          directRouting: backend.directrouting === true,
        },
      };
    case 'host-gw':
      return { networks, backend: { type: 'host-gw' } };
    default:
      throw unsupported(type);
  }
}

type Fields = Record<string, unknown>;

function lowerKeys(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError('not an object');
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key.toLowerCase(), field]));
}

function unsupported(backend: string): AgentError {
  return new AgentError({
    code: 'FLANNEL_BACKEND',
    message: `the flannel backend "${backend.slice(0, 40)}" is not supported by this agent yet`,
    remedy: 'Start the k3s server with --flannel-backend=vxlan or host-gw, or with none and a CNI of your own.',
  });
}
