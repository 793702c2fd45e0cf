import { AgentError, errorCode, registerSecret } from '../core/index.ts';
import { listFiles, readText } from '../host/index.ts';
import { type Command, parseArgv } from './argv.ts';
import { type AgentConfig, FIELDS, type FieldShape, findField } from './fields.ts';
import { describeStart, type NodeMeta } from './node-meta.ts';
import { nameOf, type Setting } from './setting.ts';
import { fieldValue, type Value } from './validate.ts';
import { type ConfigFiles, type FileSettings, readConfigFiles } from './yaml-file.ts';

export interface LoadOptions {
  /** Arguments without the program's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where config files come from; the host's files when left out. */
  readonly files?: ConfigFiles;
}

export interface Loaded extends NodeMeta {
  readonly command: Command;
  readonly config: AgentConfig;
  /** Sentences for the log: settings that do nothing here, and why. */
  readonly warnings: readonly string[];
  /** `status --json`. */
  readonly json: boolean;
}

/**
 * The whole configuration, once. Precedence as in k3s: environment < config file < flags; repeatable flags of the
 * config file and of the command line add up. Throws AgentError `CONFIG_*`, naming the field, where it was set and the
 * nearest known name; never a secret.
 */
export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const { argv, env, files = hostFiles } = options;
  const parsed = parseArgv(argv);
  for (const { field, text } of parsed.settings) if (field.secret) registerSecret(text);
  const needsFiles = parsed.command === 'agent' || parsed.command === 'status';
  const fromFiles: FileSettings = needsFiles
    ? await readConfigFiles(configFile(parsed.settings, env), files)
    : { settings: [], args: [] };
  const settings = [...fromEnv(env), ...fromFiles.settings, ...parsed.settings];
  for (const { field, text } of settings) if (field.secret) registerSecret(text);

  const values: Record<string, Value> = {};
  const warnings: string[] = [];
  for (const field of FIELDS as readonly FieldShape[]) {
    const own = settings.filter((s) => s.field === field);
    // The variable counts only while nothing stronger is there, also for lists.
    const stronger = own.filter((s) => s.source !== field.env);
    const used = stronger.length > 0 ? stronger : own;
    const value = fieldValue(field, used);
    values[field.key] = value;
    if (parsed.command === 'agent') refuse(field, value, used, warnings);
  }
  values.configFile = configFile(parsed.settings, env);
  if (values.token === undefined && values.clusterSecret !== undefined) {
    values.token = values.clusterSecret;
    warnings.push('--cluster-secret is the old name of --token; it is used as the token');
  }
  const config = freeze(values) as unknown as AgentConfig;
  if (parsed.command === 'agent') await requireIdentity(config, files);
  return {
    command: parsed.command,
    config,
    warnings,
    json: parsed.json,
    ...describeStart(['agent', ...fromFiles.args, ...parsed.rest], env),
  };
}

/** The variable wins over the flag here, and only here (k3s pkg/configfilearg). */
function configFile(settings: readonly Setting[], env: LoadOptions['env']): string {
  const field = findField('config') as FieldShape;
  // The original takes the first --config it sees.
  const flag = settings.find((s) => s.field === field)?.text;
  return env.K3S_CONFIG_FILE || flag || String(field.default);
}

/** An empty variable counts as none: unit files are full of `K3S_TOKEN=`. */
function fromEnv(env: LoadOptions['env']): Setting[] {
  const out: Setting[] = [];
  for (const field of FIELDS as readonly FieldShape[]) {
    const text = field.env === undefined ? undefined : env[field.env];
    if (field.env !== undefined && text !== undefined && text !== '') out.push({ field, text, source: field.env });
  }
  return out;
}

function refuse(field: FieldShape, value: Value, settings: readonly Setting[], warnings: string[]): void {
  const { unsupported } = field;
  const isUnset = value === undefined || value === false || (Array.isArray(value) && value.length === 0);
  if (!unsupported || isUnset || value === field.default) return;
  const text = `${nameOf(field)} (from ${settings.at(-1)?.source}) is not supported: ${unsupported.why}`;
  if (unsupported.as === 'warning') warnings.push(text);
  else throw new AgentError({ code: 'CONFIG_UNSUPPORTED', message: text, remedy: 'remove that setting' });
}

/** What an agent can't even try to join without. A board that has joined before may do so by its certificate. */
async function requireIdentity(config: AgentConfig, files: ConfigFiles): Promise<void> {
  if (config.server === undefined)
    throw new AgentError({
      code: 'CONFIG_MISSING',
      message: 'the server to join is not given',
      remedy: 'give it with --server https://SERVER:6443, K3S_URL, or "server:" in the config file',
    });
  if (config.token !== undefined || config.tokenFile !== undefined) return;
  const joined = await files.read(`${config.dataDir}/agent/client-kubelet.crt`).catch(() => undefined);
  if (joined !== undefined) return;
  throw new AgentError({
    code: 'CONFIG_MISSING',
    message: 'the token to join with is not given',
    remedy:
      'give it with --token, --token-file, K3S_TOKEN, or "token:" in the config file; it stands in /var/lib/rancher/k3s/server/token on the server',
  });
}

function freeze(values: Record<string, Value>): Readonly<Record<string, Value>> {
  for (const value of Object.values(values)) if (Array.isArray(value)) Object.freeze(value);
  return Object.freeze(values);
}

const MAX_REMOTE = 1024 * 1024;

const hostFiles: ConfigFiles = {
  read: readText,
  async list(dir) {
    try {
      return await listFiles(dir);
    } catch (error) {
      throw new AgentError({
        code: 'CONFIG_FILE',
        message: `the configuration folder ${dir} can't be read (${errorCode(error)})`,
        remedy: 'the agent runs as root; check that the path is a folder on a file system that is mounted',
      });
    }
  },
  async fetch(url) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
      const text = await response.text();
      if (response.ok && text.length <= MAX_REMOTE) return text;
      throw new Error(response.ok ? 'it is larger than 1 MiB' : `HTTP ${response.status}`);
    } catch (cause) {
      throw new AgentError({
        code: 'CONFIG_FILE',
        message: "the configuration URL (--config or K3S_CONFIG_FILE) can't be loaded",
        remedy: 'check it with curl on this host, or give a file instead',
        cause,
      });
    }
  },
};
