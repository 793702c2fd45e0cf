import { type ImageReference, registerSecret, splitImageDomain } from '../../core/index.ts';
import type { AuthConfig } from '../../cri/types.ts';

/** Credentials by registry, the more specific ones first. Built from Docker's config formats. */
export interface Keyring {
  /** All that fit, best first; empty: pull without credentials. */
  find(reference: ImageReference): AuthConfig[];
}

/** Credentials and where they may go: a host, with `*` in its labels, and the beginning of a path. */
export interface CredentialRule {
  host: string;
  path: string;
  auth: AuthConfig;
}

/** Docker's names for its own registry. */
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** Rules of a parsed `config.json` (`{auths: …}`) or `.dockercfg` (the inner object). Odd entries are skipped. */
export function rulesOf(config: unknown): CredentialRule[] {
  if (typeof config !== 'object' || config === null) return [];
  const auths = 'auths' in config ? (config as { auths: unknown }).auths : config;
  if (typeof auths !== 'object' || auths === null) return [];
  const rules: CredentialRule[] = [];
  for (const [key, value] of Object.entries(auths)) {
    const auth = authOf(value);
    if (auth !== undefined) rules.push({ ...placeOf(key), auth });
  }
  return rules;
}

/** Host and path of a key such as `https://registry.test/team`. */
function placeOf(key: string): { host: string; path: string } {
  const [host = '', ...path] = key.replace(/^https?:\/\//, '').split('/');
  const joined = path.filter((part) => part !== '').join('/');
  // `https://index.docker.io/v1/` names the API, not a repository.
  return { host, path: joined === 'v1' || joined === 'v2' ? '' : joined };
}

/** Whether a pattern of a plugin's matchImages fits an image (`docker.io/library/busybox`). */
export function matchesImage(pattern: string, image: string): boolean {
  const { domain, rest } = splitImageDomain(image);
  return fits(placeOf(pattern), domain, rest);
}

export function createKeyring(rules: readonly CredentialRule[]): Keyring {
  const sorted = [...rules].sort((a, b) => b.path.length - a.path.length || b.host.length - a.host.length);
  return {
    find: ({ domain, path }) => sorted.filter((rule) => fits(rule, domain, path)).map((rule) => rule.auth),
  };
}

function fits(rule: Omit<CredentialRule, 'auth'>, domain: string, path: string): boolean {
  if (rule.path !== '' && path !== rule.path && !path.startsWith(`${rule.path}/`)) return false;
  if (DOCKER_HUB.has(domain)) return DOCKER_HUB.has(rule.host);
  const [ruleHost, rulePort] = hostAndPort(rule.host);
  const [host, port] = hostAndPort(domain);
  if (rulePort !== port) return false;
  const want = ruleHost.split('.');
  const have = host.split('.');
  return want.length === have.length && want.every((part, i) => globMatch(part, have[i] as string));
}

/** `[fd00::1]:5000` → `[fd00::1]` and `5000`. */
function hostAndPort(text: string): [string, string | undefined] {
  const m = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text);
  return [m?.[1] ?? text, m?.[2]];
}

/** Only `*` within one label of a host name, as upstream. */
function globMatch(pattern: string, text: string): boolean {
  const parts = pattern.split('*');
  if (parts.length === 1) return pattern === text;
  let at = 0;
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1) return text.length >= at + part.length && text.endsWith(part);
    const found = text.indexOf(part, at);
    if (found < 0 || (i === 0 && found !== 0)) return false;
    at = found + part.length;
  }
  return true;
}

function authOf(value: unknown): AuthConfig | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const entry = value as Record<string, unknown>;
  const text = (key: string): string | undefined =>
    typeof entry[key] === 'string' ? (entry[key] as string) : undefined;
  let username = text('username');
  let password = text('password');
  const packed = text('auth');
  if (packed !== undefined && (username === undefined || password === undefined)) {
    const plain = Buffer.from(packed, 'base64').toString('utf8');
    const colon = plain.indexOf(':');
    if (colon >= 0) {
      username ??= plain.slice(0, colon);
      password ??= plain.slice(colon + 1);
    }
  }
  const identityToken = text('identitytoken');
  registerSecret(password);
  registerSecret(packed);
  registerSecret(identityToken);
  if (username === undefined && identityToken === undefined) return undefined;
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identityToken === undefined ? {} : { identityToken }),
  };
}
