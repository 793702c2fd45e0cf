import { AgentError, registerSecret } from '../../core/index.ts';

/** registries.yaml, checked; missing parts are empty. */
export interface Registries {
  readonly mirrors: Readonly<Record<string, Mirror>>;
  readonly configs: Readonly<Record<string, RegistryConfig>>;
}

export interface Mirror {
  readonly endpoints: readonly string[];
  /** Regular expression of a repository's path → what it becomes. */
  readonly rewrites: Readonly<Record<string, string>>;
}

export interface RegistryConfig {
  readonly auth?: RegistryAuth;
  readonly tls?: RegistryTls;
}

export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly identityToken?: string;
}

export interface RegistryTls {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly insecureSkipVerify?: boolean;
}

export const NO_REGISTRIES: Registries = { mirrors: {}, configs: {} };

interface Place {
  readonly file: string;
  readonly lineOf: (path: readonly (string | number)[]) => number;
  readonly warnings: string[];
}

/**
 * Reads registries.yaml (reference: rancher/wharfie). Throws `REGISTRIES_INVALID` naming file and line; unknown keys
 * are only warned of, since the original ignores them. Passwords are registered as secrets.
 */
export async function parseRegistries(
  file: string,
  text: string,
): Promise<{ registries: Registries; warnings: string[] }> {
  const { LineCounter, parseDocument } = await import('yaml');
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = doc.errors[0];
  if (broken) throw invalid(file, lines.linePos(broken.pos[0]).line, broken.message.split('\n')[0] ?? 'bad YAML');
  const place: Place = {
    file,
    warnings: [],
    lineOf(path) {
      for (let end = path.length; end >= 0; end--) {
        const node = doc.getIn(path.slice(0, end), true) as { range?: [number, number, number] } | undefined;
        if (node?.range) return lines.linePos(node.range[0]).line;
      }
      return 1;
    },
  };
  const root = object(place, [], plain(file, () => doc.toJS()) ?? {});
  known(place, [], root, ['mirrors', 'configs']);
  const entries = (key: string) => Object.entries(object(place, [key], root[key] ?? {}));
  const registries = {
    mirrors: Object.fromEntries(entries('mirrors').map(([host, value]) => [host, mirror(place, host, value)])),
    configs: Object.fromEntries(entries('configs').map(([host, value]) => [host, config(place, host, value)])),
  };
  return { registries, warnings: place.warnings };
}

/** An alias without its anchor, or so many that the file would fill the memory, shows only now. */
function plain(file: string, read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    throw invalid(file, 1, error instanceof Error ? error.message : 'bad YAML');
  }
}

function mirror(place: Place, host: string, value: unknown): Mirror {
  const path = ['mirrors', host];
  const entry = object(place, path, value ?? {});
  known(place, path, entry, ['endpoint', 'rewrite']);
  const endpoints = entry.endpoint ?? [];
  if (!Array.isArray(endpoints) || endpoints.some((e) => typeof e !== 'string'))
    throw invalid(place.file, place.lineOf([...path, 'endpoint']), `mirrors.${host}.endpoint must be a list of URLs`);
  const rewrites = object(place, [...path, 'rewrite'], entry.rewrite ?? {});
  return {
    endpoints,
    rewrites: Object.fromEntries(
      Object.keys(rewrites).map((key) => [key, text(place, [...path, 'rewrite', key], rewrites[key]) ?? '']),
    ),
  };
}

function config(place: Place, host: string, value: unknown): RegistryConfig {
  const path = ['configs', host];
  const entry = object(place, path, value ?? {});
  known(place, path, entry, ['auth', 'tls']);
  const auth = entry.auth == null ? undefined : object(place, [...path, 'auth'], entry.auth);
  const tls = entry.tls == null ? undefined : object(place, [...path, 'tls'], entry.tls);
  if (auth) known(place, [...path, 'auth'], auth, ['username', 'password', 'auth', 'identity_token']);
  if (tls) known(place, [...path, 'tls'], tls, ['ca_file', 'cert_file', 'key_file', 'insecure_skip_verify']);
  const authText = (key: string) => text(place, [...path, 'auth', key], auth?.[key]);
  const tlsText = (key: string) => text(place, [...path, 'tls', key], tls?.[key]);
  for (const key of ['password', 'auth', 'identity_token']) registerSecret(authText(key));
  const skip = tls?.insecure_skip_verify;
  if (skip != null && typeof skip !== 'boolean')
    throw invalid(place.file, place.lineOf([...path, 'tls', 'insecure_skip_verify']), 'must be true or false');
  return {
    ...(auth
      ? {
          auth: defined({
            username: authText('username'),
            password: authText('password'),
            auth: authText('auth'),
            identityToken: authText('identity_token'),
          }),
        }
      : {}),
    ...(tls
      ? {
          tls: defined({
            caFile: tlsText('ca_file'),
            certFile: tlsText('cert_file'),
            keyFile: tlsText('key_file'),
            insecureSkipVerify: skip ?? undefined,
          }),
        }
      : {}),
  };
}

function object(place: Place, path: readonly string[], value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid(place.file, place.lineOf(path), `${path.join('.') || 'the file'} must be a map`);
}

/** YAML makes a number of an all-digit password; what was written is what is meant. */
function text(place: Place, path: readonly string[], value: unknown): string | undefined {
  if (value == null || value === '') return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw invalid(place.file, place.lineOf(path), `${path.join('.')} must be a text`);
}

function known(place: Place, path: readonly string[], value: Record<string, unknown>, names: readonly string[]): void {
  for (const key of Object.keys(value))
    if (!names.includes(key))
      place.warnings.push(`${place.file}:${place.lineOf([...path, key])}: ${[...path, key].join('.')} is unknown`);
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter((entry) => entry[1] !== undefined)) as T;
}

function invalid(file: string, line: number, what: string): AgentError {
  return new AgentError({
    code: 'REGISTRIES_INVALID',
    message: `${file}:${line}: ${what}`,
    remedy: 'correct the file; it is read again as soon as it is saved, and until then what was valid before applies',
  });
}
