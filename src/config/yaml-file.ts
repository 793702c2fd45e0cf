import type { Document } from 'yaml';
import { AgentError, errorCode } from '../core/index.ts';
import { fieldNames, findField } from './fields.ts';
import { nearest } from './nearest.ts';
import type { Setting } from './setting.ts';
import { readYaml, TO_JS, type Yaml, YamlFault } from './yaml-document.ts';

/** What a config file's reader needs from the host. */
export interface ConfigFiles {
  /** The file's text, or undefined if there is none. */
  read(path: string): Promise<string | undefined>;
  /** Names of the plain files in a folder; empty if there is no such folder. */
  list(dir: string): Promise<readonly string[]>;
  /** The text behind an http(s) URL. */
  fetch(url: string): Promise<string>;
}

type Line = [key: string, value: unknown, line: number];

interface Entry {
  value: unknown;
  source: string;
}

export interface FileSettings {
  readonly settings: readonly Setting[];
  /** The same as arguments in k3s's spelling, `--key=value`, for the Node's annotations. */
  readonly args: readonly string[];
}

/**
 * config.yaml and then `<file>.d/*.yaml|*.yml` in name order, merged and turned into settings the way k3s does
 * (pkg/configfilearg/parser.go): a later key replaces an earlier one at its place, `key+` adds to it as a list, lists
 * become one setting an item. YAML 1.1, so that `yes`, `on` and 0755 mean what they mean there.
 */
export async function readConfigFiles(file: string, files: ConfigFiles): Promise<FileSettings> {
  const merged = new Map<string, Entry>();
  const isUrl = /^https?:\/\//i.test(file);
  const main = isUrl ? await files.fetch(file) : await read(file, files);
  if (main !== undefined) await mergeInto(merged, main, isUrl ? urlName(file) : file);
  if (!isUrl) {
    const dropIns = (await files.list(`${file}.d`)).filter((name) => /\.ya?ml$/i.test(name));
    for (const name of dropIns.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      const text = await read(`${file}.d/${name}`, files);
      if (text !== undefined) await mergeInto(merged, text, `${file}.d/${name}`);
    }
  }
  const settings: Setting[] = [];
  const args: string[] = [];
  for (const [key, { value, source }] of merged) {
    const field = findField(key);
    if (field === undefined) throw unknownKey(key, source);
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item === 'object' && item !== null)
        throw new AgentError({
          code: 'CONFIG_INVALID',
          message: `${key} (from ${source}): a map or a list in a list is not a value`,
          remedy: field.list ? `write a list of texts, such as "- name=value"` : 'write one text, number or true/false',
        });
      const text = goString(item);
      settings.push({ field, text, source });
      args.push(`${key.length === 1 ? '-' : '--'}${key}=${text}`);
    }
  }
  return { settings, args };
}

async function read(path: string, files: ConfigFiles): Promise<string | undefined> {
  try {
    return await files.read(path);
  } catch (cause) {
    throw new AgentError({
      code: 'CONFIG_FILE',
      message: `the configuration file ${path} can't be read (${errorCode(cause) ?? 'error'})`,
    });
  }
}

async function mergeInto(merged: Map<string, Entry>, text: string, name: string): Promise<void> {
  for (const [written, value, line] of await parse(text, name)) {
    const source = `${name}:${line}`;
    const adds = written.endsWith('+');
    const key = adds ? written.slice(0, -1) : written;
    const old = merged.get(key);
    // Writing to a key that is there keeps its place in the order, as in the original.
    if (adds && old) merged.set(key, { value: [...asList(old.value), ...asList(value)], source });
    else merged.set(key, { value, source });
  }
}

function asList(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value === 'string') return [value];
  const text = goString(value).trim();
  return text === '' ? [] : [text];
}

/** Texts of the parser's errors are not passed on: they quote the file, and the token stands in it. */
async function parse(text: string, name: string): Promise<Line[]> {
  const { documents, check, lineOf } = await readYaml(text, { uniqueKeys: false, intAsBigInt: true });
  const [document] = documents;
  if (document === undefined) return [];
  try {
    check(document);
    return await linesOf(document, lineOf);
  } catch (error) {
    if (!(error instanceof YamlFault)) throw error;
    throw new AgentError({
      code: 'CONFIG_YAML',
      message: `${name}:${error.line}: ${error.problem}`,
      remedy: 'write one "key: value" a line; lists as "- item" lines; quote texts with special characters',
    });
  }
}

async function linesOf(document: Document, lineOf: Yaml['lineOf']): Promise<Line[]> {
  const { isMap, isScalar } = await import('yaml');
  const root = document.contents;
  if (root === null || (isScalar(root) && root.value === null)) return [];
  if (!isMap(root)) throw new YamlFault('the file must hold keys and values', 1);
  const out: Line[] = [];
  for (const pair of root.items) {
    const node = pair.key as { range?: [number, number, number]; toJS?(doc: unknown): unknown } | null;
    const line = node?.range ? lineOf(node.range[0]) : 1;
    try {
      const key = node?.toJS ? node.toJS(document) : node;
      const value = pair.value as { toJS?(doc: unknown, options: typeof TO_JS): unknown } | null;
      const plain = value?.toJS ? value.toJS(document, TO_JS) : value;
      if (key === '<<' && typeof plain === 'object' && plain !== null && !Array.isArray(plain))
        for (const [k, v] of Object.entries(plain)) out.push([k, v, line]);
      else out.push([goString(key), plain, line]);
    } catch {
      throw new YamlFault('not a usable key or value', line);
    }
  }
  return out;
}

/** A YAML scalar as Go prints it with %v: what `k3s agent` puts behind `--key=`. */
function goString(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'bigint')
    return value >= -(2n ** 63n) && value < 2n ** 64n ? value.toString() : goString(Number(value));
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return 'NaN';
    if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
    const size = Math.abs(value);
    const text = size !== 0 && size < 1e-4 ? value.toExponential() : String(value);
    return text.replace(/e([+-])(\d)$/, 'e$10$2');
  }
  if (typeof value === 'object') throw new Error('not a scalar');
  return String(value);
}

function urlName(url: string): string {
  try {
    const u = new URL(url);
    return `${u.protocol}//${u.host}${u.pathname}`; // neither password nor query
  } catch {
    return 'the configuration URL';
  }
}

function unknownKey(key: string, source: string): AgentError {
  const shown = key.slice(0, 40);
  const near = nearest(key, fieldNames());
  return new AgentError({
    code: 'CONFIG_UNKNOWN',
    message: `${source}: there is no key "${shown}" for an agent`,
    remedy: near
      ? `did you mean "${near}"?`
      : 'keys are the flags without dashes; flags of `k3s server` do not belong here',
  });
}
