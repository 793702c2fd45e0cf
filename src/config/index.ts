export type { Command } from './argv.ts';
export { mergeComponentArgs } from './component-args.ts';
export type { AgentConfig } from './fields.ts';
export { helpText } from './help.ts';
export { type Loaded, type LoadOptions, loadConfig } from './load.ts';
export type { NodeMeta } from './node-meta.ts';
export { parseLabel, parseTaint } from './node-values.ts';
export type { ConfigFiles } from './yaml-file.ts';
