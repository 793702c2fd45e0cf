export type { PluginInfo } from './registration.ts';
export * from './watcher.ts';
