import { type Clock, describeError, type Logger } from '../../../core/index.ts';
import type { Exec } from '../../../host/index.ts';
import type { CredentialRule } from '../keyring.ts';
import { pluginConfigs } from './config.ts';
import { type CredentialPlugin, createPlugin } from './plugin.ts';

export interface CredentialPluginsOptions {
  /** A CredentialProviderConfig, YAML or JSON, or a folder of them (Kubernetes 1.34). */
  configFile: string;
  binDir: string;
  /** Texts of the configuration: one of a file, one each of a folder's files by name; none if there is nothing. */
  read(path: string): Promise<readonly string[]>;
  parse(text: string): Promise<readonly unknown[]>;
  exec: Exec;
  clock: Clock;
  log: Logger;
}

/**
 * Credentials from the plugins that a configuration names. Nothing is read before the first pull; a configuration that is
 * wrong is told of once and makes no plugins; a plugin that fails gives no credentials, and the pull goes on without.
 */
export function createCredentialPlugins(options: CredentialPluginsOptions) {
  const { configFile, binDir, read, parse, exec, clock, log } = options;
  let loaded: { text: string; plugins: Promise<readonly CredentialPlugin[]> } | undefined;

  const make = async (texts: readonly string[]): Promise<readonly CredentialPlugin[]> => {
    try {
      const documents = (await Promise.all(texts.map(parse))).flat();
      const configs = documents.flatMap(pluginConfigs);
      return configs.map((config) => createPlugin({ config, binDir, exec, clock }));
    } catch (error) {
      log.error('the credential providers can not be used', { file: configFile, error: describeError(error) });
      return [];
    }
  };
  const load = async (): Promise<readonly CredentialPlugin[]> => {
    const texts = await read(configFile);
    const text = texts.join('\0');
    if (loaded?.text !== text) loaded = { text, plugins: make(texts) };
    return loaded.plugins;
  };

  return async (image: string): Promise<readonly CredentialRule[]> => {
    const plugins = await load().catch((error: unknown): CredentialPlugin[] => {
      log.warn('the credential providers can not be read', { file: configFile, error: describeError(error) });
      return [];
    });
    const found = await Promise.all(
      plugins.map(async (plugin) => {
        try {
          return await plugin.credentials(image);
        } catch (error) {
          log.warn('a credential provider gave no credentials', {
            plugin: plugin.name,
            image,
            error: describeError(error),
          });
          return [];
        }
      }),
    );
    return found.flat();
  };
}
