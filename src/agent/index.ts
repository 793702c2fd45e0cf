export { type AgentInput, runAgent } from './agent.ts';
export { runStatus } from './run-status.ts';
export { VERSION } from './version.ts';
