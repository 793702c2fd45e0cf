import { familyOf } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { DnsOptions, Notice } from '../materials.ts';
import { podLongName } from './spec.ts';

/** resolv.conf as lists. */
export interface ResolvConf {
  servers: string[];
  searches: string[];
  options: string[];
}

const MAX_SERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARS = 2048;
/** A longer one makes some resolvers abort. */
const MAX_SEARCH_PATH = 253;

/**
 * Nameservers add up, and options, of which a later one overrules; of several search lines the last one counts (kubelet
 * pkg/kubelet/network/dns/dns.go). A lone dot, the root, is no search path.
 */
export function parseResolvConf(text: string): ResolvConf {
  const out: ResolvConf = { servers: [], searches: [], options: [] };
  const options = new Map<string, string>();
  for (const line of text.slice(0, 1024 * 1024).split('\n')) {
    const trimmed = line.trim();
    if (trimmed.startsWith('#')) continue;
    const [word, ...rest] = trimmed.split(/\s+/);
    if (word === 'nameserver' && rest[0]) out.servers.push(rest[0]);
    else if (word === 'search') out.searches = rest.filter((s) => s !== '.').map((s) => s.replace(/\.$/, ''));
    else if (word === 'options') for (const option of rest) options.set(option.split(':')[0] as string, option);
  }
  out.options = [...options.values()];
  return out;
}

const unique = (list: readonly string[]) => [...new Set(list)];

type Source = 'cluster' | 'host' | 'none';

function sourceFor(pod: Pod): Source {
  switch (pod.spec.dnsPolicy ?? 'ClusterFirst') {
    case 'None':
      return 'none';
    case 'Default':
      return 'host';
    case 'ClusterFirst':
      return pod.spec.hostNetwork ? 'host' : 'cluster';
    default:
      // ClusterFirstWithHostNet, and policies unknown here, which upstream treats as cluster DNS.
      return 'cluster';
  }
}

/** A pod's resolv.conf. `host`: the node's own, empty if none is configured. */
export function podDns(
  pod: Pod,
  context: { dns: DnsOptions; host: ResolvConf; hostIps: readonly string[] },
): { config: ResolvConf; notices: Notice[] } {
  const { dns, host, hostIps } = context;
  const notices: Notice[] = [];
  let source = sourceFor(pod);
  if (source === 'cluster' && dns.clusterDns.length === 0) {
    notices.push(
      warning(
        'MissingClusterDNS',
        `pod: "${podLongName(pod)}". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.`,
      ),
    );
    source = 'host';
  }
  let config: ResolvConf;
  if (source === 'none') config = { servers: [], searches: [], options: [] };
  else if (source === 'cluster') {
    const domain = dns.clusterDomain;
    const cluster = domain ? [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain] : [];
    config = {
      servers: [...dns.clusterDns],
      searches: unique([...cluster, ...host.searches]),
      options: ['ndots:5'],
    };
  } else if (dns.resolvConf === undefined || dns.resolvConf === '') {
    // Without servers a resolver asks the local machine; said explicitly, else the runtime copies the host's file.
    const local = hostIps.map((ip) => (familyOf(ip) === 6 ? '::1' : '127.0.0.1'));
    config = { servers: local.length > 0 ? local : ['127.0.0.1'], searches: ['.'], options: [] };
  } else config = { servers: [...host.servers], searches: [...host.searches], options: [...host.options] };
  const own = pod.spec.dnsConfig;
  if (own)
    config = {
      servers: unique([...config.servers, ...(own.nameservers ?? [])]),
      searches: unique([...config.searches, ...(own.searches ?? [])]),
      options: mergeOptions(config.options, own.options ?? []),
    };
  return { config: fit(config, notices), notices };
}

function mergeOptions(existing: readonly string[], own: readonly { name?: string; value?: string }[]): string[] {
  const merged = new Map<string, string>();
  for (const option of existing) {
    const [name = '', ...value] = option.split(':');
    merged.set(name, value.join(':'));
  }
  for (const { name, value } of own) if (name) merged.set(name, value ?? '');
  return [...merged].map(([name, value]) => (value ? `${name}:${value}` : name));
}

/** Cuts to what resolvers accept, saying so as upstream does. */
function fit(config: ResolvConf, notices: Notice[]): ResolvConf {
  let { servers, searches } = config;
  if (servers.length > MAX_SERVERS) {
    servers = servers.slice(0, MAX_SERVERS);
    notices.push(
      warning(
        'DNSConfigForming',
        `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${servers.join(' ')}`,
      ),
    );
  }
  const asked = searches.length;
  searches = searches.slice(0, MAX_SEARCHES).filter((path) => path.length <= MAX_SEARCH_PATH);
  while (searches.length > 0 && searches.join(' ').length > MAX_SEARCH_CHARS) searches = searches.slice(0, -1);
  if (searches.length < asked)
    notices.push(
      warning(
        'DNSConfigForming',
        `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(' ')}`,
      ),
    );
  return { servers, searches, options: config.options };
}

function warning(reason: string, message: string): Notice {
  return { type: 'Warning', reason, message: message.slice(0, 1024) };
}
