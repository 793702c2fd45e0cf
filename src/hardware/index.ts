export * from './board.ts';
export * from './system.ts';
