import { AgentError, cidrContains, familyOf, parseCidr, sameAddress } from '../core/index.ts';

/**
 * The proxy for the connections to the servers: none unless `K3S_AGENT_HTTP_PROXY_ALLOWED` is true, else what
 * HTTPS_PROXY or HTTP_PROXY say for the server's URL, minus NO_PROXY (Go's golang.org/x/net/http/httpproxy rules).
 * Throws `PROXY_INVALID` on a value that is no proxy.
 */
export function proxyFor(server: URL, env: Readonly<Record<string, string | undefined>>): URL | undefined {
  if (!['1', 't', 'true'].includes((env.K3S_AGENT_HTTP_PROXY_ALLOWED ?? '').toLowerCase())) return undefined;
  const value = pick(env, server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (value === undefined || isDirect(server, pick(env, 'NO_PROXY') ?? '')) return undefined;
  const text = value.includes('://') ? value : `http://${value}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw invalid('is not a URL', cause);
  }
  if (!['http:', 'https:', 'socks5:'].includes(url.protocol)) throw invalid(`has the unknown scheme ${url.protocol}`);
  return url;
}

function pick(env: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  return env[name] || env[name.toLowerCase()] || undefined;
}

function isDirect(server: URL, noProxy: string): boolean {
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = server.port || (server.protocol === 'https:' ? '443' : '80');
  const family = familyOf(host);
  if (host === 'localhost' || host === '::1' || (family === 4 && host.startsWith('127.'))) return true;
  return noProxy
    .split(',')
    .map((rule) => rule.trim().toLowerCase())
    .some((rule) => rule !== '' && matches(rule, host, port, family !== undefined));
}

function matches(rule: string, host: string, port: string, isAddress: boolean): boolean {
  if (rule === '*') return true;
  if (/^[\da-f.:]+\/\d+$/.test(rule)) {
    try {
      return isAddress && cidrContains(parseCidr(rule), host);
    } catch {
      return false;
    }
  }
  const [, bracketed, plain, wanted] = /^(?:\[([^\]]+)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(rule) ?? [];
  const name = bracketed ?? plain ?? rule;
  if (wanted !== undefined && wanted !== port) return false;
  if (isAddress) return sameAddress(name, host);
  const bare = name.replace(/^\*?\./, '');
  return host.endsWith(`.${bare}`) || (bare === name && host === bare);
}

function invalid(what: string, cause?: unknown): AgentError {
  return new AgentError({
    code: 'PROXY_INVALID',
    message: `the proxy in HTTPS_PROXY or HTTP_PROXY ${what}`,
    remedy: 'use http://, https:// or socks5:// with host and port',
    cause,
  });
}
