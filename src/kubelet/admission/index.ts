export * from './admit.ts';
export * from './shape.ts';
