import { AgentError } from '../core/index.ts';
import { fieldNames, findField } from './fields.ts';
import { nearest } from './nearest.ts';
import { nameOf, type Setting } from './setting.ts';

export type Command = 'agent' | 'status' | 'version' | 'help';

export interface ParsedArgv {
  readonly command: Command;
  readonly settings: readonly Setting[];
  /** `status --json`. */
  readonly json: boolean;
  /** The arguments after the word `agent`, as written; what k3s.io/node-args is made of. */
  readonly rest: readonly string[];
}

const COMMANDS = ['agent', 'status', 'version', 'help'] as const;

/**
 * Go's flag syntax, as `k3s agent` reads it: one or two dashes, `--name=value` or `--name value`, booleans only as
 * `--name` or `--name=true|false`. Go stops silently at the first word that is no flag and ignores all that follows,
 * which has cost people hours; here that is an error.
 */
export function parseArgv(argv: readonly string[]): ParsedArgv {
  if (argv.length === 1 && argv[0] === '-v') return { command: 'version', settings: [], json: false, rest: [] };
  let command: Command | undefined;
  let override: Command | undefined;
  let json = false;
  const settings: Setting[] = [];
  const rest: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (!arg.startsWith('-') || arg === '-' || arg === '--') {
      if (command !== undefined || arg === '-' || arg === '--') throw stray(argv, i);
      command = COMMANDS.find((c) => c === arg);
      if (command === undefined) throw i > 0 ? stray(argv, i) : unknownCommand(arg);
      continue;
    }
    const bare = arg.replace(/^--?/, '');
    const at = bare.indexOf('=');
    const name = at < 0 ? bare : bare.slice(0, at);
    if (name === 'help' || name === 'h') {
      override = 'help';
      continue;
    }
    if (name === 'version') {
      override ??= 'version';
      continue;
    }
    if (name === 'json' && command === 'status') {
      json = bare !== 'json=false';
      continue;
    }
    const field = findField(name);
    if (field === undefined) throw unknownFlag(name);
    rest.push(arg);
    let text = at < 0 ? undefined : bare.slice(at + 1);
    if (text === undefined && field.type === 'bool') text = 'true';
    if (text === undefined) {
      text = argv[++i];
      if (text === undefined)
        throw new AgentError({
          code: 'CONFIG_INVALID',
          message: `${nameOf(field)} is the last argument and has no value`,
          remedy: `write ${nameOf(field)}=VALUE`,
        });
      rest.push(text);
    }
    settings.push({ field, text, source: nameOf(field) });
  }
  return { command: override ?? command ?? 'agent', settings, json, rest };
}

/** What was typed is not repeated: it may be the token of somebody who forgot `--token`. */
function stray(argv: readonly string[], i: number): AgentError {
  const before = argv[i - 1];
  const name = before?.replace(/^--?/, '');
  const isBool = before?.startsWith('-') === true && name !== undefined && findField(name)?.type === 'bool';
  return new AgentError({
    code: 'CONFIG_STRAY',
    message: `argument ${i + 1} is neither a flag nor the value of one`,
    remedy: isBool
      ? `${before} takes no separate value; write ${before} or ${before}=false`
      : 'put the name of the flag before it, and values with spaces in quotes',
  });
}

function unknownCommand(arg: string): AgentError {
  const near = nearest(arg, COMMANDS);
  const isOther =
    /^(server|kubectl|crictl|ctr|check-config|etcd-snapshot|secrets-encrypt|certificate|token|completion)$/.test(arg);
  return new AgentError({
    code: 'CONFIG_COMMAND',
    message: isOther ? `"${arg}" is a command of k3s, not of the agent` : 'the first word is no command',
    remedy: near
      ? `did you mean "${near}"?`
      : 'the commands are agent (also without the word), status and version; flags start with --',
  });
}

function unknownFlag(name: string): AgentError {
  const near = nearest(name, fieldNames());
  return new AgentError({
    code: 'CONFIG_UNKNOWN',
    message: `there is no flag --${name.slice(0, 40)}`,
    remedy: near ? `did you mean --${near}?` : 'k3s-agent --help lists the flags',
  });
}
