export * from './conditions.ts';
export * from './controller.ts';
export * from './describe.ts';
export * from './lease.ts';
export * from './pressure.ts';
export * from './resources.ts';
export * from './version.ts';
