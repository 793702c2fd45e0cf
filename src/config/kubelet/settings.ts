import { AgentError } from '../../core/index.ts';
import { listTree, readText } from '../../host/index.ts';
import { nearest } from '../nearest.ts';
import { type DropInFiles, isMap, type Layer, mergePatch, readLayers } from './drop-ins.ts';
import { fieldOf, type Key, type OtherKey } from './key.ts';
import { Wrong } from './kinds.ts';
import { OTHER_KEYS } from './other-keys.ts';
import { KEYS, type KubeletSettings } from './table.ts';
import { checkTogether } from './together.ts';

export interface KubeletSettingsInput {
  /** `--kubelet-arg`, merged: every value of each flag. */
  args: ReadonlyMap<string, readonly string[]>;
  /** `/var/lib/rancher/k3s` */
  dataDir: string;
  files?: DropInFiles;
}

interface Source {
  args: ReadonlyMap<string, readonly string[]>;
  merged: Readonly<Record<string, unknown>>;
  layers: readonly Layer[];
}

/**
 * All settings of the kubelet, once: k3s's defaults, then configuration files in their order, then `--kubelet-arg`.
 * `warnings` are sentences about what was given and changes nothing. Throws `CONFIG_INVALID`, `CONFIG_UNKNOWN`,
 * `CONFIG_UNSUPPORTED` or `CONFIG_FILE`, each naming flag or file.
 */
export async function loadKubeletSettings(
  input: KubeletSettingsInput,
): Promise<{ settings: KubeletSettings; warnings: string[] }> {
  const { dataDir, files = hostFiles } = input;
  const agentDir = `${dataDir.replace(/\/+$/, '')}/agent`;
  const args = new Map([...input.args].map(([name, values]) => [name.replaceAll('_', '-'), values] as const));
  const layers = await readLayers(
    {
      dropInDir: `${agentDir}/etc/kubelet.conf.d`,
      configFile: path(args, 'config'),
      configDir: path(args, 'config-dir'),
    },
    files,
  );
  const defaults = k3sDefaults(agentDir);
  const merged = layers.reduce<unknown>((sum, { values }) => mergePatch(sum, values), defaults);
  const source: Source = { args, merged: isMap(merged) ? merged : {}, layers };
  const warnings = [...strangers(source)];
  for (const key of OTHER_KEYS) warnings.push(...otherKey(key, source));
  const out: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(KEYS) as [string, Key<unknown>][]) {
    const { value, from }: Said = said({ ...key, field: fieldOf(name, key) }, source) ?? { value: key.fallback };
    out[name] = value;
    if (key.notYet !== undefined && from !== undefined && !isSame(value, key.fallback))
      warnings.push(`${from} has no effect: ${key.notYet}`);
  }
  const settings = Object.freeze(out) as unknown as KubeletSettings;
  const gates = Object.entries(settings.featureGates).map(([gate, on]) => `${gate}=${on}`);
  if (gates.length > 0)
    warnings.push(`feature gates of the kubelet (${gates.join(', ')}) have no effect: nothing here is behind a gate`);
  checkTogether(settings);
  return { settings, warnings };
}

/** What k3s sets for its kubelets and the kubelet's own default is not (pkg/daemons/agent). */
function k3sDefaults(agentDir: string): Record<string, unknown> {
  return {
    staticPodPath: `${agentDir}/pod-manifests`,
    evictionHard: { 'imagefs.available': '5%', 'nodefs.available': '5%' },
    evictionMinimumReclaim: { 'imagefs.available': '10%', 'nodefs.available': '10%' },
  };
}

function path(args: Source['args'], flag: string): string | undefined {
  const values = args.get(flag);
  if (values === undefined) return undefined;
  const value = values.at(-1);
  if (!value || value === 'true')
    throw new AgentError({
      code: 'CONFIG_INVALID',
      message: `--kubelet-arg=${flag} needs a path`,
      remedy: `write --kubelet-arg=${flag}=/path/to/it`,
    });
  return value;
}

/** What somebody says about a setting; `from` is left out for what only k3s's defaults say. */
interface Said {
  value: unknown;
  from?: string;
}

/** The flag's value, else that of the files; undefined while nobody says anything. */
function said(
  { flag, field, kind, keepsZero }: Pick<Key<unknown>, 'flag' | 'kind' | 'keepsZero'> & { field?: string | undefined },
  { args, merged, layers }: Source,
): Said | undefined {
  const texts = flag === undefined ? undefined : args.get(flag);
  if (texts !== undefined) {
    const from = `--kubelet-arg=${flag}`;
    return { value: attempt(() => kind.flag(texts), from, texts.at(-1)), from };
  }
  if (field === undefined) return undefined;
  const raw = at(merged, field);
  if (raw === undefined || (!keepsZero && (raw === 0 || raw === '' || raw === '0s'))) return undefined;
  const file = fileOf(field, layers);
  const from = file === undefined ? undefined : `${field} (from ${file})`;
  const value = attempt(() => kind.json(raw), from ?? field, raw);
  return from === undefined ? { value } : { value, from };
}

function otherKey(key: OtherKey, source: Source): string[] {
  const found = said({ ...key, keepsZero: true }, source);
  if (found === undefined || key.state === 'needless' || key.harmless?.includes(found.value)) return [];
  const message = `${found.from} is not supported: ${key.why}`;
  if (key.state === 'refused')
    throw new AgentError({ code: 'CONFIG_UNSUPPORTED', message, remedy: 'remove that setting' });
  return [message];
}

function attempt<T>(parse: () => T, from: string, value: unknown): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    throw new AgentError({
      code: 'CONFIG_INVALID',
      message: `${from} "${String(shown).slice(0, 64)}" ${error.message}`,
    });
  }
}

/** Names that no kubelet has: as a flag an error, as in the original; in a file a warning, as there. */
function strangers({ args, layers }: Source): string[] {
  const keys = Object.entries(KEYS) as [string, Key<unknown>][];
  const flags = [...keys.map(([, key]) => key.flag), ...OTHER_KEYS.map((key) => key.flag), 'config', 'config-dir'];
  for (const name of args.keys()) if (!flags.includes(name)) throw unknownFlag(name, flags);
  const fields = [...keys.map(([name, key]) => fieldOf(name, key)), ...OTHER_KEYS.map((key) => key.field)].filter(
    (field) => field !== undefined,
  );
  return layers.flatMap(({ path: file, values }) =>
    unknownFields(values, '', fields).map((field) => {
      const near = nearest(field, fields);
      return `${file}: a kubelet has no setting "${field.slice(0, 60)}"${near ? `; did you mean "${near}"?` : ''}`;
    }),
  );
}

function unknownFields(values: Readonly<Record<string, unknown>>, before: string, known: readonly string[]): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const field = before + name;
    if (known.includes(field)) return [];
    const isGroup = known.some((one) => one.startsWith(`${field}.`));
    if (isGroup) return isMap(value) ? unknownFields(value, `${field}.`, known) : [];
    return [field];
  });
}

function unknownFlag(name: string, flags: readonly (string | undefined)[]): AgentError {
  const near = nearest(
    name,
    flags.filter((flag) => flag !== undefined),
  );
  return new AgentError({
    code: 'CONFIG_UNKNOWN',
    message: `--kubelet-arg=${name.slice(0, 60)}: the kubelet has no such flag`,
    remedy: near ? `did you mean --kubelet-arg=${near}=…?` : 'docs/kubelet-arg.md lists all of them',
  });
}

function at(values: Readonly<Record<string, unknown>>, field: string): unknown {
  return field.split('.').reduce<unknown>((inner, name) => (isMap(inner) ? inner[name] : undefined), values);
}

/** The last file that says something about a setting. */
function fileOf(field: string, layers: readonly Layer[]): string | undefined {
  return layers.findLast(({ values }) => at(values, field) !== undefined)?.path;
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

const hostFiles: DropInFiles = { read: readText, walk: listTree };
