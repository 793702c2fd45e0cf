export { DesiredCache } from './desired-cache.ts';
export { PodManager, type PodManagerOptions, type PodSummary } from './manager.ts';
export { createProbeRunner } from './probes/runner.ts';
export type { ProbeRunner } from './probes/types.ts';
export { podReference } from './reports.ts';
export { ApiPodSource, type PodChange, type PodSource } from './source.ts';
