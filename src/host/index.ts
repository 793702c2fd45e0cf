export * from './exec.ts';
export * from './files.ts';
export * from './log.ts';
