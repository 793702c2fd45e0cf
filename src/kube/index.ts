export * from './client.ts';
export * from './errors.ts';
export * from './event-recorder.ts';
export * from './events.ts';
export * from './informer.ts';
export * from './types.ts';
