export * from './create-materials.ts';
export * from './images/index.ts';
export * from './logs/index.ts';
export * from './materials.ts';
export * from './node/index.ts';
export * from './pods/index.ts';
export * from './references/index.ts';
export * from './server/index.ts';
