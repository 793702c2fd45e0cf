export { EvictionManager, type EvictionTargets, type NodeReclaim } from './manager.ts';
export { createMeasures } from './measures.ts';
export { nodePaths } from './node-paths.ts';
export { hasImageFilesystem, observe, readTaskLimit } from './observe.ts';
export type { Pressure } from './signals.ts';
export { type EvictionSettings, hardReservation, thresholdsOf } from './thresholds.ts';
