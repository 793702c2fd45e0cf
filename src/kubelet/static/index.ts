export { mergedSource } from './merged-source.ts';
export { MirrorKeeper, type MirrorOptions } from './mirrors.ts';
export { type StaticPodOptions, StaticPodSource } from './source.ts';
