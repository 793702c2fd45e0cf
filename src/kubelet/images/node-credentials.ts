import { describeError, type Logger } from '../../core/index.ts';
import { type CredentialRule, rulesOf } from './keyring.ts';

export interface NodeCredentialsOptions {
  /** Files in Docker's formats, in their order; the first that is there and whole is the one that counts. */
  files: readonly string[];
  /** Undefined if there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** What credential provider plugins say of an image, which is named as in `docker.io/library/busybox`. */
  plugins?(image: string): Promise<readonly CredentialRule[]>;
  log: Logger;
}

/** Where the kubelet looks for Docker's files (credentialprovider/config.go): its own folder, then root's homes. */
export function nodeCredentialFiles(kubeletDir: string, home: string): string[] {
  return [
    `${kubeletDir}/config.json`,
    `${home}/.docker/config.json`,
    '/.docker/config.json',
    `${kubeletDir}/.dockercfg`,
    `${home}/.dockercfg`,
    '/.dockercfg',
  ];
}

/** The node's own registry credentials for an image. Read anew for each pull, so that a change counts at once. */
export function createNodeCredentials({ files, read, plugins, log }: NodeCredentialsOptions) {
  return async (image: string): Promise<readonly CredentialRule[]> => {
    const [fromFile, fromPlugins] = await Promise.all([readFirst(files, read, log), plugins?.(image)]);
    return [...fromFile, ...(fromPlugins ?? [])];
  };
}

async function readFirst(
  files: readonly string[],
  read: NodeCredentialsOptions['read'],
  log: Logger,
): Promise<CredentialRule[]> {
  for (const path of files)
    try {
      const text = await read(path);
      if (text !== undefined) return rulesOf(JSON.parse(text));
    } catch (error) {
      // The parser's own words quote the file, and passwords stand in it.
      const why = error instanceof SyntaxError ? 'it is not JSON' : describeError(error);
      log.warn("the node's registry credentials can't be read", { path, error: why });
    }
  return [];
}
