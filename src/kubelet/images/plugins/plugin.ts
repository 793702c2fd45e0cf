import { AgentError, type Clock, registerSecret } from '../../../core/index.ts';
import type { Exec } from '../../../host/index.ts';
import { type CredentialRule, matchesImage, rulesOf } from '../keyring.ts';
import { durationMs, type PluginConfig } from './config.ts';

export interface PluginOptions {
  config: PluginConfig;
  /** Folder of the programs. */
  binDir: string;
  exec: Exec;
  clock: Clock;
}

export interface CredentialPlugin {
  readonly name: string;
  /** Credentials for an image (`docker.io/library/busybox`); none if it is not this plugin's. Throws if the plugin fails. */
  credentials(image: string): Promise<readonly CredentialRule[]>;
}

/** The kubelet's own limit. */
const TIMEOUT_MS = 60_000;
/** Answers kept at once; the oldest goes. */
const MAX_KEPT = 128;
const MAX_OUTPUT = 1024 * 1024;

interface Kept {
  until: number;
  rules: CredentialRule[];
}

/**
 * A credential provider plugin (upstream pkg/credentialprovider/plugin): a program that gets a request on its standard
 * input and prints credentials. It is run once for all who ask for the same image at once, and its answer is kept as long
 * as it says, for the image, its registry, or all images.
 */
export function createPlugin({ config, binDir, exec, clock }: PluginOptions): CredentialPlugin {
  const kept = new Map<string, Kept>();
  const running = new Map<string, Promise<CredentialRule[]>>();

  const find = (image: string): readonly CredentialRule[] | undefined => {
    for (const key of [`image ${image}`, `registry ${registryOf(image)}`, 'global']) {
      const entry = kept.get(key);
      if (entry === undefined) continue;
      if (clock.monotonic() < entry.until) return entry.rules;
      kept.delete(key);
    }
    return undefined;
  };
  const ask = async (image: string): Promise<CredentialRule[]> => {
    const request = { kind: 'CredentialProviderRequest', apiVersion: config.apiVersion, image };
    const { stdout } = await exec.run([`${binDir}/${config.name}`, ...config.args], {
      input: JSON.stringify(request),
      env: config.env,
      timeoutMs: TIMEOUT_MS,
      maxOutput: MAX_OUTPUT,
    });
    const answer = readAnswer(stdout, config);
    const cacheMs = answer.cacheMs ?? config.defaultCacheMs;
    if (cacheMs > 0) {
      const key = { Image: `image ${image}`, Registry: `registry ${registryOf(image)}`, Global: 'global' };
      kept.set(key[answer.cacheKeyType], { until: clock.monotonic() + cacheMs, rules: answer.rules });
      if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value as string);
    }
    return answer.rules;
  };

  return {
    name: config.name,
    async credentials(image) {
      if (!config.matchImages.some((pattern) => matchesImage(pattern, image))) return [];
      const known = find(image);
      if (known !== undefined) return known;
      let asked = running.get(image);
      if (asked === undefined) {
        asked = ask(image).finally(() => running.delete(image));
        running.set(image, asked);
      }
      return asked;
    },
  };
}

function registryOf(image: string): string {
  return image.split('/')[0] ?? '';
}

interface Answer {
  cacheKeyType: 'Image' | 'Registry' | 'Global';
  cacheMs: number | undefined;
  rules: CredentialRule[];
}

/** Nothing of the answer is quoted in an error: there are passwords in it. */
function readAnswer(text: string, { name, apiVersion }: PluginConfig): Answer {
  const wrong = (what: string) =>
    new AgentError({ code: 'CREDENTIAL_PROVIDER', message: `the answer of ${name} ${what}` });
  let answer: Record<string, unknown>;
  try {
    answer = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw wrong('is not JSON');
  }
  if (typeof answer !== 'object' || answer === null || answer.kind !== 'CredentialProviderResponse')
    throw wrong('is no CredentialProviderResponse');
  if (answer.apiVersion !== apiVersion) throw wrong(`is not of the apiVersion ${apiVersion}`);
  const { cacheKeyType, cacheDuration, auth } = answer;
  if (cacheKeyType !== 'Image' && cacheKeyType !== 'Registry' && cacheKeyType !== 'Global')
    throw wrong('has no valid cacheKeyType');
  const cacheMs = cacheDuration === undefined || cacheDuration === null ? undefined : durationMs(cacheDuration);
  const entries = typeof auth === 'object' && auth !== null ? auth : {};
  for (const entry of Object.values(entries)) registerSecret((entry as { password?: string })?.password);
  return { cacheKeyType, cacheMs, rules: rulesOf({ auths: entries }) };
}
