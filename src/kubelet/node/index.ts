export * from './conditions.ts';
export * from './controller.ts';
export * from './describe.ts';
export * from './lease.ts';
export * from './node-events.ts';
export * from './resources.ts';
export * from './version.ts';
