export * from './codec.ts';
export * from './connection.ts';
