export * from './manager.ts';
export * from './names.ts';
export * from './settings.ts';
