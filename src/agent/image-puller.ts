import { readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type AgentConfig, type KubeletSettings, parseDocuments } from '../config/index.ts';
import { type Clock, errorCode, type Logger } from '../core/index.ts';
import type { Cri } from '../cri/index.ts';
import { type Exec, exists, readText } from '../host/index.ts';
import {
  createCredentialPlugins,
  createNodeCredentials,
  ImagePuller,
  type ImagePullerOptions,
  nodeCredentialFiles,
} from '../kubelet/index.ts';
import { imageArrival } from './arriving-images.ts';

export interface ImagePullerInput {
  config: AgentConfig;
  settings: KubeletSettings;
  kubeletDir: string;
  cri: Cri;
  secret: ImagePullerOptions['secret'];
  exec: Exec;
  clock: Clock;
  log: Logger;
}

/** The image puller with all that it gets credentials from: pull secrets, the node's files, plugins, registries.yaml. */
export async function createImagePuller(input: ImagePullerInput): Promise<ImagePuller> {
  const { settings, cri, clock, log, secret } = input;
  const parallel = settings.serializeImagePulls ? 1 : settings.maxParallelImagePulls;
  const plugins = await credentialPlugins(input);
  return new ImagePuller({
    images: cri.images,
    clock,
    log,
    secret,
    nodeCredentials: createNodeCredentials({
      files: nodeCredentialFiles(input.kubeletDir, homedir()),
      read: readText,
      ...(plugins === undefined ? {} : { plugins }),
      log,
    }),
    authFor: ({ domain, path }) => cri.registries.authFor(`${domain}/${path}`),
    arrival: (image, signal) => imageArrival(cri, image, signal),
    downloads: (signal) => cri.downloads(signal),
    ...(parallel === undefined ? {} : { maxParallel: parallel }),
  });
}

/** Only where both folder and configuration are there, as in k3s (pkg/daemons/agent, ImageCredProvAvailable). */
async function credentialPlugins({ config, settings, exec, clock, log }: ImagePullerInput) {
  const binDir = settings.imageCredentialProviderBinDir ?? config.imageCredentialProviderBinDir;
  const configFile = settings.imageCredentialProviderConfig ?? config.imageCredentialProviderConfig;
  if (!binDir || !configFile || !(await exists(binDir)) || !(await exists(configFile))) return undefined;
  return createCredentialPlugins({
    configFile,
    binDir,
    read: configTexts,
    parse: parseDocuments,
    exec,
    clock,
    log,
  });
}

/** Of a file its text, of a folder those of its YAML and JSON files by name. */
async function configTexts(path: string): Promise<string[]> {
  try {
    const names = (await readdir(path)).filter((name) => /\.(json|ya?ml)$/.test(name)).sort();
    const texts = await Promise.all(names.map((name) => readText(join(path, name))));
    return texts.filter((text) => text !== undefined);
  } catch (error) {
    if (errorCode(error) !== 'ENOTDIR' && errorCode(error) !== 'ENOENT') throw error;
    const text = await readText(path);
    return text === undefined ? [] : [text];
  }
}
