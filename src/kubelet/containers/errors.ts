import { AgentError } from '../../core/index.ts';

/** A container whose configuration can't be made; the message is what its status shows (CreateContainerConfigError). */
export function configError(message: string, cause?: unknown): AgentError {
  return new AgentError({ code: 'CONTAINER_CONFIG', message, cause });
}
