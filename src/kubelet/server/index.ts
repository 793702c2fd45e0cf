export type { HealthCheck } from './healthz.ts';
export { HealthzServer, type HealthzServerOptions } from './healthz-server.ts';
export { createDocuments, type DocumentOptions } from './numbers/documents.ts';
export type { ContainerQuery, FoundContainer, ServerRuntime } from './pods.ts';
export type { Body } from './reply.ts';
export { type Documents, KubeletServer, type KubeletServerOptions, type ServingPair } from './server.ts';
