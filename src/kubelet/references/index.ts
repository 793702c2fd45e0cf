export * from './reference.ts';
export * from './store.ts';
export * from './tokens.ts';
