export * from './gc/index.ts';
export { createNodeCredentials, nodeCredentialFiles } from './node-credentials.ts';
export { createCredentialPlugins } from './plugins/index.ts';
export type { ImagePresence } from './presence.ts';
export { ImageError, ImagePuller, type ImagePullerOptions, type ImageRequest } from './puller.ts';
