import type { Registries, RegistryConfig, RegistryTls } from './parse.ts';

/** One URL containerd may ask, `scheme://host[:port]/path`. */
export interface Endpoint {
  readonly url: string;
  /** The registry's name in `configs`. */
  readonly registry: string;
  /** The URL has a path of its own, to which containerd must not add `/v2`. */
  readonly overridePath: boolean;
  readonly config: RegistryConfig;
  readonly rewrites: Readonly<Record<string, string>>;
}

/** What becomes one folder of certs.d. */
export interface HostConfig {
  /** What is asked last. Undefined or an empty URL: the registry that the image's reference names. */
  readonly default: Endpoint | undefined;
  readonly endpoints: readonly Endpoint[];
}

export interface HostsOptions {
  /** `--disable-default-registry-endpoint` */
  readonly noDefaultEndpoint: boolean;
}

/**
 * registries.yaml as containerd's hosts, by registry name (reference: k3s pkg/agent/containerd/config.go). Hosts about
 * which nothing is said but their default are left out. Endpoints that are no URL or come twice are warned of.
 */
export function planHosts(
  registries: Registries,
  options: HostsOptions,
): { hosts: Map<string, HostConfig>; warnings: string[] } {
  const hosts = new Map<string, HostConfig>();
  const warnings: string[] = [];
  for (const [name, config] of Object.entries(registries.configs)) {
    const own = defaultEndpoint(name, config);
    // A name becomes a folder's: it must not lead out of certs.d.
    if (own) hosts.set(name, { default: own, endpoints: [] });
    else warnings.push(`the registry name ${name} is not a host`);
  }
  for (const [name, mirror] of Object.entries(registries.mirrors)) {
    let own = hosts.get(name)?.default;
    if (!hosts.has(name)) {
      own = defaultEndpoint(name, configFor(registries, name));
      if (!own) {
        warnings.push(`the registry name ${name} is not a host`);
        continue;
      }
      if (options.noDefaultEndpoint) own = undefined;
      else if (name === '*') own = { ...own, url: '', config: {} };
    }
    const endpoints: Endpoint[] = [];
    const seen = new Set<string>();
    mirror.endpoints.forEach((text, i) => {
      const parsed = parseEndpoint(text);
      if (!parsed) warnings.push(`the endpoint ${text} of ${name} is not a URL`);
      else if (seen.has(parsed.url)) warnings.push(`the endpoint ${text} of ${name} is there twice`);
      else {
        seen.add(parsed.url);
        const endpoint = { ...parsed, config: configFor(registries, parsed.registry), rewrites: mirror.rewrites };
        if (i === mirror.endpoints.length - 1 && own?.url === endpoint.url) own = endpoint;
        else endpoints.push(endpoint);
      }
    });
    // containerd asks the registry itself when no server is named, so without a default the last endpoint is the server.
    hosts.set(name, { default: own ?? endpoints.pop(), endpoints });
  }
  for (const [name, host] of hosts) if (host.endpoints.length === 0 && !says(host.default)) hosts.delete(name);
  return { hosts, warnings };
}

function says(endpoint: Endpoint | undefined): boolean {
  if (!endpoint) return false;
  const { auth, tls } = endpoint.config;
  return endpoint.overridePath || auth !== undefined || tls !== undefined || Object.keys(endpoint.rewrites).length > 0;
}

function defaultEndpoint(name: string, config: RegistryConfig): Endpoint | undefined {
  if (name === '*') return { url: '', registry: name, overridePath: false, config, rewrites: {} };
  if (!/^[\w.:[\]-]+$/.test(name) || /^\.+$/.test(name)) return undefined;
  const parsed = parseEndpoint(name);
  return parsed && { ...parsed, overridePath: false, config, rewrites: {} };
}

/** `docker.io`'s settings may stand under the name of the host that serves it. */
export function configFor(registries: Registries, registry: string): RegistryConfig {
  const host = servingHost(registry);
  return (host !== registry ? registries.configs[host] : undefined) ?? registries.configs[registry] ?? {};
}

/** The host that serves a registry: its own name, but for Docker Hub. */
export function servingHost(registry: string): string {
  return registry === 'docker.io' ? 'registry-1.docker.io' : registry;
}

/** Undefined if it is not a URL. Scheme and path as containerd's own rules have them. */
export function parseEndpoint(text: string): Pick<Endpoint, 'url' | 'registry' | 'overridePath'> | undefined {
  const m = /^(?:(?:([a-z][a-z0-9+.-]*):)?\/\/)?([^/?#\s"]+)(\/[^?#\s"]*)?$/i.exec(text.trim());
  const host = m?.[2];
  if (!m || host === undefined) return undefined;
  const [, name = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(host) ?? [];
  if (name === '') return undefined;
  const local = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(name) && port !== undefined && port !== '443';
  const scheme = m[1]?.toLowerCase() ?? (local ? 'http' : 'https');
  const path = m[3] ?? '';
  const usual = path === '' || path === '/' || path === '/v2';
  return {
    url: `${scheme}://${servingHost(host)}${usual ? '/v2' : path}`,
    registry: host === 'registry-1.docker.io' ? 'docker.io' : host,
    overridePath: !usual,
  };
}

/** By this first line both agents know a file they may replace. */
export const HOSTS_HEADER = '# File generated by k3s. DO NOT EDIT.';

/** containerd's hosts.toml. Credentials never stand here. */
export function renderHosts(host: HostConfig): string {
  const lines = [HOSTS_HEADER];
  // An empty server still says that the registry itself is asked after the mirrors: without the line it is not.
  if (host.default) lines.push(`server = ${quote(host.default.url)}`, 'capabilities = ["pull", "resolve", "push"]');
  if (host.default?.overridePath) lines.push('override_path = true');
  if (host.default) lines.push(...tlsLines(host.default.config.tls, ''));
  lines.push('', '[host]');
  for (const endpoint of host.endpoints) {
    lines.push('', `[host.${quote(endpoint.url)}]`, '  capabilities = ["pull", "resolve"]');
    if (endpoint.overridePath) lines.push('  override_path = true');
    lines.push(...tlsLines(endpoint.config.tls, '  '));
    const rewrites = Object.entries(endpoint.rewrites);
    if (rewrites.length > 0) lines.push(`  [host.${quote(endpoint.url)}.rewrite]`);
    for (const [from, to] of rewrites) lines.push(`    ${quote(from)} = ${quote(to)}`);
  }
  return `${lines.join('\n')}\n`;
}

function tlsLines(tls: RegistryTls | undefined, indent: string): string[] {
  if (!tls) return [];
  const lines: string[] = [];
  if (tls.caFile) lines.push(`ca = [${quote(tls.caFile)}]`);
  if (tls.certFile || tls.keyFile) lines.push(`client = [[${quote(tls.certFile ?? '')}, ${quote(tls.keyFile ?? '')}]]`);
  if (tls.insecureSkipVerify) lines.push('skip_verify = true');
  return lines.map((line) => indent + line);
}

/** A JSON string is a TOML basic string. */
function quote(text: string): string {
  return JSON.stringify(text);
}

/** Where a host's file goes: IPv6 colons are fine there, `*` has its own name. */
export function hostFolder(name: string): string {
  return name === '*' ? '_default' : name;
}
