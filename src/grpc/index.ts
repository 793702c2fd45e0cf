export * from './codec.ts';
export * from './connection.ts';
export * from './go-status.ts';
