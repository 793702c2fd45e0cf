import { describeError, errorCode, isAbort } from '../../../core/index.ts';
import type { RuntimeService } from '../../../cri/types.ts';
import { expand } from '../../containers/expansion.ts';
import type { SpecContainer } from '../model.ts';
import { goDuration } from '../restart.ts';
import { rpcText } from '../rpc-text.ts';
import type { Verdict } from './check.ts';

/** A program's output in an event is cut there (upstream pkg/probe/exec). */
const MAX_OUTPUT = 10 * 1024;

/** Runs a program in the container; its exit code is the answer. */
export async function execVerdict(
  runtime: RuntimeService,
  {
    id,
    command,
    timeoutMs,
    signal,
  }: { id: string; command: readonly string[]; timeoutMs: number; signal: AbortSignal },
): Promise<Verdict> {
  try {
    // The runtime keeps the time; a little more is left for its answer.
    const options = { signal, timeoutMs: timeoutMs + 10_000 };
    const { exitCode, stdout, stderr } = await runtime.execSync(id, command, Math.ceil(timeoutMs / 1000), options);
    const output = Buffer.concat([stdout, stderr]).subarray(0, MAX_OUTPUT).toString('utf8');
    return { result: exitCode === 0 ? 'success' : 'failure', output };
  } catch (error) {
    if (isAbort(error)) throw error;
    // Only a program that does not end in time fails the probe; one that can not be started says nothing.
    if (errorCode(error) === 'CRI_DEADLINE_EXCEEDED' || /^timeout .* exceeded/.test(describeError(error)))
      return {
        result: 'failure',
        output: `command timed out: ${JSON.stringify(command.join(' '))} timed out after ${goDuration(timeoutMs)}`,
      };
    return { result: 'error', output: rpcText(error) };
  }
}

/** A probe's command with `$(NAME)` replaced; only values that stand in the spec itself are known. */
export function probeCommand(command: readonly string[] | undefined, { spec }: SpecContainer): string[] {
  if (!command?.some((part) => `${part}`.includes('$'))) return (command ?? []).map(String);
  const env = new Map((Array.isArray(spec.env) ? spec.env : []).map((e) => [e?.name, `${e?.value ?? ''}`]));
  return command.map((part) => expand(`${part}`, (name) => env.get(name)));
}
