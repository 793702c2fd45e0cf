import { AgentError, errorCode } from '../../core/index.ts';
import { parseDocuments, YamlFault } from '../yaml-document.ts';

/** What the reader of configuration files needs from the host. */
export interface DropInFiles {
  /** The text, or undefined if there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** Paths of the files below a folder, relative to it, sorted as Go's WalkDir meets them; undefined: no folder. */
  walk(dir: string): Promise<readonly string[] | undefined>;
}

export interface ConfigSources {
  /** DATA-DIR/agent/etc/kubelet.conf.d: everything in there counts, with or without arguments. */
  dropInDir: string;
  /** `--kubelet-arg=config=FILE` */
  configFile: string | undefined;
  /** `--kubelet-arg=config-dir=DIR` */
  configDir: string | undefined;
}

/** One file's KubeletConfiguration. */
export interface Layer {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Written by the original at each start; our defaults take its place. */
const K3S_DEFAULTS = '00-k3s-defaults.conf';
/** Where k3s copies what the arguments name: that decides the order (pkg/daemons/agent/agent.go). */
const CLI_FILE = '10-cli-config.conf';
const CLI_DIR = '20-cli-config-dir';

/**
 * The configuration files in the order in which they apply. As k3s does, the file and the folder of the arguments come
 * in at the places of their copies in the drop-in folder; only files that end in `.conf` count there, sorted by name.
 * A file that can't be used is `CONFIG_FILE`, naming it.
 */
export async function readLayers(sources: ConfigSources, files: DropInFiles): Promise<Layer[]> {
  const { dropInDir, configFile, configDir } = sources;
  const found = new Map<string, string>();
  for (const name of (await walk(dropInDir, files)) ?? [])
    if (name !== K3S_DEFAULTS) found.set(name, `${dropInDir}/${name}`);
  if (configFile !== undefined && !isWithin(configFile, dropInDir)) found.set(CLI_FILE, configFile);
  if (configDir !== undefined && !isWithin(configDir, dropInDir)) {
    const names = await walk(configDir, files);
    if (names === undefined) throw fault(configDir, 'there is no such folder');
    for (const name of names) found.set(`${CLI_DIR}/${name}`, `${configDir}/${name}`);
  }
  const layers: Layer[] = [];
  for (const [name, path] of [...found].sort(([a], [b]) => compareWalk(a, b)))
    if (name.endsWith('.conf')) layers.push({ path, values: await readLayer(path, files) });
  return layers;
}

async function walk(dir: string, files: DropInFiles): Promise<readonly string[] | undefined> {
  try {
    return await files.walk(dir);
  } catch (error) {
    throw fault(dir, `it can't be read (${errorCode(error) ?? 'error'})`);
  }
}

async function readLayer(path: string, files: DropInFiles): Promise<Record<string, unknown>> {
  let source: string | undefined;
  try {
    source = await files.read(path);
  } catch (error) {
    throw fault(path, `it can't be read (${errorCode(error) ?? 'error'})`);
  }
  if (source === undefined) throw fault(path, 'there is no such file');
  let document: unknown;
  try {
    [document] = await parseDocuments(source);
  } catch (error) {
    if (error instanceof YamlFault) throw fault(`${path}:${error.line}`, error.problem);
    throw error;
  }
  if (!isMap(document)) throw fault(path, 'it must hold a KubeletConfiguration');
  const { apiVersion, kind, ...values } = document;
  if (apiVersion !== 'kubelet.config.k8s.io/v1beta1' || kind !== 'KubeletConfiguration')
    throw fault(
      path,
      `it is of apiVersion ${short(apiVersion)} and kind ${short(kind)}`,
      'begin it with "apiVersion: kubelet.config.k8s.io/v1beta1" and "kind: KubeletConfiguration"',
    );
  return values;
}

/** RFC 7386: maps are merged, null removes, all else replaces. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isMap(patch)) return patch;
  const out: Record<string, unknown> = { ...(isMap(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete out[key];
    else out[key] = mergePatch(out[key], value);
  return out;
}

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** filepath.WalkDir sorts within each folder, by bytes. */
function compareWalk(a: string, b: string): number {
  const left = a.split('/');
  const right = b.split('/');
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = Buffer.compare(Buffer.from(left[i] as string), Buffer.from(right[i] as string));
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function isWithin(path: string, dir: string): boolean {
  return path.startsWith(dir);
}

function short(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)?.slice(0, 60);
}

function fault(path: string, problem: string, remedy?: string): AgentError {
  return new AgentError({
    code: 'CONFIG_FILE',
    message: `the kubelet configuration ${path} can't be used: ${problem}`,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
