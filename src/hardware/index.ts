export * from './board.ts';
export * from './sensors.ts';
export * from './system.ts';
