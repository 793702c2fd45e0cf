import { AgentError } from '../../../core/index.ts';

/** One entry of a CredentialProviderConfig. */
export interface PluginConfig {
  name: string;
  /** Of requests and answers: `credentialprovider.kubelet.k8s.io/v1`. */
  apiVersion: string;
  /** Patterns such as `*.dkr.ecr.*.amazonaws.com` or `registry.io:8080/path`. */
  matchImages: readonly string[];
  defaultCacheMs: number;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
}

const GROUP = 'kubelet.config.k8s.io/';
const API_VERSIONS = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `credentialprovider.kubelet.k8s.io/${version}`);

/**
 * Reads a CredentialProviderConfig (upstream pkg/credentialprovider/plugin/config.go). Throws `CREDENTIAL_PROVIDERS`
 * saying what is wrong where: with a plugin left out, pulls would fail for no reason that anybody sees.
 */
export function pluginConfigs(document: unknown): PluginConfig[] {
  const config = mapOf(document, 'the file');
  if (config.kind !== 'CredentialProviderConfig' || !String(config.apiVersion).startsWith(GROUP))
    throw wrong('the file', `is no CredentialProviderConfig of ${GROUP}v1`);
  const list = Array.isArray(config.providers) ? config.providers : [];
  if (list.length === 0) throw wrong('providers', 'names none');
  const names = new Set<string>();
  return list.map((entry: unknown, i) => {
    const plugin = pluginConfig(mapOf(entry, `providers[${i}]`), `providers[${i}]`);
    if (names.has(plugin.name)) throw wrong(`providers[${i}].name`, 'is there twice');
    names.add(plugin.name);
    return plugin;
  });
}

function pluginConfig(entry: Readonly<Record<string, unknown>>, at: string): PluginConfig {
  const { name, apiVersion, matchImages, defaultCacheDuration, args = [], env = [], tokenAttributes } = entry;
  if (typeof name !== 'string' || !/^[^/ ]+$/.test(name) || name === '.' || name === '..')
    throw wrong(`${at}.name`, 'must be the name of a program in the plugins folder');
  if (typeof apiVersion !== 'string' || !API_VERSIONS.includes(apiVersion))
    throw wrong(`${at}.apiVersion`, `must be one of ${API_VERSIONS.join(', ')}`);
  if (!isTexts(matchImages) || matchImages.length === 0) throw wrong(`${at}.matchImages`, 'must name at least one');
  const cacheMs = durationMs(defaultCacheDuration);
  if (cacheMs === undefined) throw wrong(`${at}.defaultCacheDuration`, 'must be a duration such as 12h');
  if (!isTexts(args)) throw wrong(`${at}.args`, 'must be texts');
  if (tokenAttributes !== undefined)
    throw wrong(`${at}.tokenAttributes`, 'is not supported: plugins get no service account tokens');
  const variables: [string, string][] = (Array.isArray(env) ? env : []).map((variable: unknown, i) => {
    const { name: key, value = '' } = mapOf(variable, `${at}.env[${i}]`);
    if (typeof key !== 'string' || key === '') throw wrong(`${at}.env[${i}]`, 'must have a name');
    return [key, String(value)];
  });
  return { name, apiVersion, matchImages, defaultCacheMs: cacheMs, args, env: Object.fromEntries(variables) };
}

/** Go's time.Duration as texts have it (`1h30m`, `0s`, `0`). */
export function durationMs(value: unknown): number | undefined {
  if (value === 0 || value === '0') return 0;
  if (typeof value !== 'string' || !/^(?:\d+(?:\.\d+)?(?:ms|h|m|s))+$/.test(value)) return undefined;
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  let total = 0;
  for (const [, amount, unit] of value.matchAll(/([\d.]+)(ms|h|m|s)/g))
    total += Number(amount) * (units[unit as string] as number);
  return total;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function mapOf(value: unknown, at: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, 'is no map');
  return value as Record<string, unknown>;
}

function wrong(at: string, what: string): AgentError {
  return new AgentError({ code: 'CREDENTIAL_PROVIDERS', message: `${at} ${what}` });
}
