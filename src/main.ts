import { AgentError, describeError } from './core/index.ts';

/**
 * glibc gives each thread a heap of its own, which in a process like this one is 8 MB of resident memory for nothing. It
 * reads the setting before the first line of ours runs, so the process replaces itself once with the variable set. The
 * unit sets it and spares that; `status` and the like end too soon to care.
 */
const ONE_ARENA = 'MALLOC_ARENA_MAX';
const shortLived = /^(status|version|help|--version|--help|-h)$/.test(process.argv[2] ?? '');
const single = process.env.K3S_AGENT_VERSION !== undefined;
if (single && !shortLived && process.env[ONE_ARENA] === undefined)
  process.execve?.(process.execPath, [process.execPath, ...process.argv.slice(2)], {
    ...definedEnv(),
    [ONE_ARENA]: '1',
  });
delete process.env[ONE_ARENA];

// Loaded only now: what is replaced at once need not be evaluated first.
import('./command.ts')
  .then(({ command }) => command(process.argv.slice(2)))
  .then(
    (code) => process.exit(code),
    (error) => {
      const remedy = error instanceof AgentError && error.remedy ? `\nwhat to do: ${error.remedy}` : '';
      process.stderr.write(`k3s-agent: ${describeError(error)}${remedy}\n`);
      process.exit(error instanceof AgentError && error.code.startsWith('CONFIG_') ? 2 : 1);
    },
  );

function definedEnv(): Record<string, string> {
  return Object.fromEntries(Object.entries(process.env).filter((e): e is [string, string] => e[1] !== undefined));
}
