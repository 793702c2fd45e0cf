import { AgentError } from '../../core/index.ts';
import type { ConfigInput } from './config.ts';

export interface TemplateInput {
  /** Names the file in errors. */
  readonly path: string;
  readonly text: string;
  /** What `{{ template "base" . }}` becomes. */
  readonly base: string;
  /** What `{{ .NodeConfig.Containerd.Root }}` and its like become: see {@link templateValues}. */
  readonly values: Readonly<Record<string, string | boolean>>;
}

const SUPPORTED =
  'plain text, {{ template "base" . }}, comments, and single values such as {{ .SystemdCgroup }} or {{ printf "%q" .NodeConfig.Containerd.Root }}';

/**
 * Renders a user's containerd template. Of Go's template language only what such files are made of is known: plain text,
 * the base template, comments, single values (also through `printf "%q"`, `deschemify`, `toJson`), and trim markers.
 * Throws `TEMPLATE_UNSUPPORTED` naming file and line for anything else, rather than writing a file that means something
 * else than the original agent's.
 */
export function renderTemplate(input: TemplateInput): string {
  const { text } = input;
  let out = '';
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = text.indexOf('{{', at);
    let plain = text.slice(at, open < 0 ? text.length : open);
    if (trimNext) plain = plain.trimStart();
    if (open < 0) return tidy(out + plain);
    const close = closing(text, open);
    if (close < 0) throw unsupported(input, open, 'the action is not closed');
    let action = text.slice(open + 2, close);
    const trimBefore = /^-\s/.test(action);
    trimNext = /\s-$/.test(action);
    if (trimBefore) action = action.slice(1);
    if (trimNext) action = action.slice(0, -1);
    out += trimBefore ? plain.trimEnd() : plain;
    out += evaluate(input, action.trim(), open);
    at = close + 2;
  }
}

/** The `}}` that ends an action: one inside a quoted string or a comment does not. */
function closing(text: string, open: number): number {
  const comment = /^\{\{(?:-\s)?\s*\/\*/.exec(text.slice(open, open + 40));
  const from = comment ? text.indexOf('*/', open + comment[0].length) : open + 2;
  if (from < 0) return -1;
  for (let i = from, quoted = ''; i < text.length - 1; i++) {
    const c = text[i] as string;
    if (quoted !== '') {
      if (c === '\\' && quoted === '"') i++;
      else if (c === quoted) quoted = '';
    } else if (!comment && (c === '"' || c === '`')) quoted = c;
    else if (c === '}' && text[i + 1] === '}') return i;
  }
  return -1;
}

function evaluate(input: TemplateInput, action: string, at: number): string {
  if (/^\/\*[\s\S]*\*\/$/.test(action)) return '';
  if (/^template\s+["`]base["`]\s+\.$/.test(action)) return input.base;
  const m =
    /^(printf\s+"%q"\s+|deschemify\s+|toJson\s+)?\.([\w.]+)(?:\s*\|\s*(printf\s+"%q"|deschemify|toJson))?$/.exec(
      action,
    );
  const value = m ? input.values[m[2] as string] : undefined;
  if (!m || value === undefined) throw unsupported(input, at, `{{ ${action.slice(0, 60)} }} is not supported`);
  const quote = [m[1], m[3]].some((f) => f?.startsWith('printf') || f?.startsWith('toJson'));
  return quote ? JSON.stringify(value) : String(value);
}

function unsupported(input: TemplateInput, at: number, what: string): AgentError {
  const line = input.text.slice(0, at).split('\n').length;
  return new AgentError({
    code: 'TEMPLATE_UNSUPPORTED',
    message: `${input.path}, line ${line}: ${what}`,
    remedy: `known are ${SUPPORTED}; a drop-in file needs no template at all`,
  });
}

/** As k3s: no empty lines but one before each table. */
function tidy(text: string): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => (line.startsWith('[') ? `\n${line}\n` : `${line}\n`))
    .join('');
}

/** The names of k3s's template data that have a counterpart here. */
export function templateValues(input: ConfigInput): Record<string, string | boolean> {
  return {
    Program: 'k3s',
    SystemdCgroup: input.systemdCgroup,
    DisableCgroup: input.disableCgroup,
    IsRunningInUserNS: input.userNamespace,
    EnableUnprivileged: input.unprivilegedPorts,
    NonrootDevices: input.nonrootDevices,
    'NodeConfig.SELinux': input.selinux,
    'NodeConfig.DefaultRuntime': input.defaultRuntime ?? '',
    'NodeConfig.Containerd.Root': input.root,
    'NodeConfig.Containerd.Opt': input.root,
    'NodeConfig.Containerd.State': input.state,
    'NodeConfig.Containerd.Address': input.socket,
    'NodeConfig.Containerd.Registry': input.registryDir,
    'NodeConfig.Containerd.Template': input.templateDir,
    'NodeConfig.AgentConfig.PauseImage': input.sandboxImage,
    'NodeConfig.AgentConfig.Snapshotter': input.snapshotter,
    'NodeConfig.AgentConfig.CNIBinDir': input.cni?.binDirs[0] ?? '',
    'NodeConfig.AgentConfig.CNIConfDir': input.cni?.confDir ?? '',
    'NodeConfig.AgentConfig.Systemd': input.systemdCgroup,
  };
}
