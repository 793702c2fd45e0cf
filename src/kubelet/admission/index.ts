export * from './admit.ts';
export type { Shortage } from './fit.ts';
export { podsToPreempt } from './preempt.ts';
export { type Refusal, refuseResize } from './resize.ts';
export * from './shape.ts';
