export * from './flannel.ts';
export * from './kernel.ts';
export { trimNode } from './lease.ts';
export * from './options.ts';
