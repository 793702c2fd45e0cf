import { type Cidr, familyOf, formatCidr, registerSecret } from '../core/index.ts';
import { JoinFailure } from './failure.ts';

/** What the server decides for all agents (`/v1-k3s/config`), typed. Lists are empty where the server says nothing. */
export interface ServerConfig {
  readonly podCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
  /** First port and how many; undefined from servers too old to tell. */
  readonly nodePorts: { readonly base: number; readonly size: number } | undefined;
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** Port of the API server; the supervisor's port if it says nothing else. */
  readonly httpsPort: number;
  readonly supervisorPort: number;
  /** `vxlan`, `host-gw`, `wireguard-native`, `none`, … */
  readonly flannelBackend: string;
  readonly flannelIpv6Masq: boolean;
  readonly flannelExternalIp: boolean;
  /** `agent`, `cluster`, `pod` or `disabled`; '' from old servers. */
  readonly egressSelectorMode: string;
  readonly disableCcm: boolean;
  readonly disableNpc: boolean;
  readonly disableKubeProxy: boolean;
  readonly embeddedRegistry: boolean;
  /** Hex, secret: key of the embedded registry's network. */
  readonly ipsecPsk: string;
  readonly systemDefaultRegistry: string;
  readonly supervisorMetrics: boolean;
  readonly minTlsVersion: string;
  readonly cipherSuites: readonly string[];
}

/** Throws JoinFailure `server-error` naming the field that can't be used. Unknown fields are skipped. */
export function parseServerConfig(raw: unknown): ServerConfig {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw malformed('it is not an object');
  const json = raw as Readonly<Record<string, unknown>>;
  const supervisorPort = port(json, 'SupervisorPort') || port(json, 'HTTPSPort') || 6443;
  const range = json.ServiceNodePortRange as { Base?: unknown; Size?: unknown } | null | undefined;
  const ipsecPsk = text(json, 'IPSECPSK');
  registerSecret(ipsecPsk);
  const hasPorts = typeof range?.Base === 'number' && typeof range.Size === 'number' && range.Size > 0;
  return Object.freeze({
    podCidrs: cidrs(json, 'ClusterIPRanges', 'ClusterIPRange'),
    serviceCidrs: cidrs(json, 'ServiceIPRanges', 'ServiceIPRange'),
    nodePorts: hasPorts ? { base: range.Base as number, size: range.Size as number } : undefined,
    clusterDns: addresses(json, 'ClusterDNSs', 'ClusterDNS'),
    clusterDomain: text(json, 'ClusterDomain') || 'cluster.local',
    httpsPort: port(json, 'HTTPSPort') || supervisorPort,
    supervisorPort,
    flannelBackend: text(json, 'FlannelBackend'),
    flannelIpv6Masq: json.FlannelIPv6Masq === true,
    flannelExternalIp: json.FlannelExternalIP === true,
    egressSelectorMode: text(json, 'EgressSelectorMode'),
    disableCcm: json.DisableCCM === true,
    disableNpc: json.DisableNPC === true,
    disableKubeProxy: json.DisableKubeProxy === true,
    embeddedRegistry: json.EmbeddedRegistry === true,
    ipsecPsk,
    systemDefaultRegistry: text(json, 'SystemDefaultRegistry'),
    supervisorMetrics: json.SupervisorMetrics === true,
    minTlsVersion: text(json, 'MinTLSVersion'),
    cipherSuites: (Array.isArray(json.CipherSuites) ? json.CipherSuites : []).filter((s) => typeof s === 'string'),
  });
}

/**
 * Pods, services and node must agree on address families, else half of the cluster could not be reached (k3s
 * pkg/agent/run.go). Throws JoinFailure `config`.
 */
export function checkFamilies(config: ServerConfig, nodeIps: readonly string[]): void {
  const of = (list: readonly Cidr[]) => [...new Set(list.map((c) => c.family))].sort().join('+');
  const say = (list: readonly Cidr[]) => list.map(formatCidr).join(', ') || 'none';
  if (of(config.podCidrs) !== of(config.serviceCidrs))
    throw new JoinFailure({
      step: 'config',
      message: `the server's cluster-cidr (${say(config.podCidrs)}) and service-cidr (${say(config.serviceCidrs)}) differ in IP versions`,
      remedy: 'give both the same IP versions on the server (--cluster-cidr, --service-cidr)',
    });
  const own = new Set(nodeIps.map((ip) => familyOf(ip)));
  const missing = config.podCidrs.find((c) => !own.has(c.family));
  if (missing)
    throw new JoinFailure({
      step: 'config',
      message: `the cluster uses IPv${missing.family} (${say(config.podCidrs)}), but this node has only ${nodeIps.join(', ')}`,
      remedy: `give the board an IPv${missing.family} address, or name it with --node-ip`,
    });
}

function cidrs(json: Readonly<Record<string, unknown>>, many: string, one: string): readonly Cidr[] {
  const list = json[many];
  if (Array.isArray(list) && list.length > 0) return list.slice(0, 16).map((c) => cidr(c, many));
  return json[one] === null || json[one] === undefined ? [] : [cidr(json[one], one)];
}

/** Go's net.IPNet as JSON: the mask is base64. */
function cidr(value: unknown, field: string): Cidr {
  const { IP, Mask } = (value ?? {}) as { IP?: unknown; Mask?: unknown };
  const family = typeof IP === 'string' ? familyOf(IP) : undefined;
  const mask = typeof Mask === 'string' ? Buffer.from(Mask, 'base64') : Buffer.alloc(0);
  const bits = [...mask].map((b) => b.toString(2).padStart(8, '0')).join('');
  if (family === undefined || mask.length !== (family === 4 ? 4 : 16) || !/^1*0*$/.test(bits))
    throw malformed(`${field} holds no address block`);
  return { family, address: IP as string, prefix: bits.indexOf('0') < 0 ? bits.length : bits.indexOf('0') };
}

function addresses(json: Readonly<Record<string, unknown>>, many: string, one: string): readonly string[] {
  const list = json[many];
  const all = Array.isArray(list) && list.length > 0 ? list.slice(0, 16) : [json[one]];
  const used = all.filter((a) => a !== null && a !== undefined && a !== '');
  for (const a of used)
    if (typeof a !== 'string' || familyOf(a) === undefined) throw malformed(`${many} holds no address`);
  return used as string[];
}

function text(json: Readonly<Record<string, unknown>>, field: string): string {
  const value = json[field];
  return typeof value === 'string' ? value : '';
}

function port(json: Readonly<Record<string, unknown>>, field: string): number {
  const value = json[field];
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value < 65536 ? value : 0;
}

function malformed(what: string): JoinFailure {
  return new JoinFailure({
    step: 'server-error',
    message: `the server's configuration can't be used: ${what}`,
    remedy: 'check that --server names a k3s server',
  });
}
