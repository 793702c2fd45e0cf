export { ImageCollector, type ImageCollectorOptions, type ImagePolicy } from './collector.ts';
export { whatFills } from './what-fills.ts';
