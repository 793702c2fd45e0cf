export { type ShutdownSettings, shutdownGroups } from './groups.ts';
export { NodeShutdown, type NodeShutdownOptions } from './manager.ts';
