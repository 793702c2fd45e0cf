import { FIELDS, type FieldShape } from './fields.ts';

/** The `--help` text, 100 columns wide at most. */
export function helpText(): string {
  const out = [
    'k3s-agent: joins a Linux board to a k3s server as a node.',
    '',
    'Usage:',
    '  k3s-agent [agent] --server https://SERVER:6443 --token TOKEN [flags]',
    '  k3s-agent status [--json]     how the node on this host is doing; the exit code is 0 when it is well',
    '  k3s-agent version',
    '',
    'Every flag can also stand in the config file as "flag: value" (without dashes). Flags win over the config file,',
    'the config file over the environment; flags marked [+] can be repeated, and those of both places add up.',
    '',
    'Flags:',
  ];
  for (const field of FIELDS as readonly FieldShape[]) {
    if (field.hidden) continue;
    const dashed = field.flag.length === 1 ? `-${field.flag}` : `--${field.flag}`;
    const name = `${dashed}${field.alias ? `, -${field.alias}` : ''}${field.type === 'bool' ? '' : ' VALUE'}`;
    const notes = [
      field.list ? '[+]' : '',
      field.default === undefined || field.default === 0 ? '' : `(default: ${field.default})`,
      field.env ? `[$${field.env}]` : '',
      field.unsupported ? `— not supported: ${field.unsupported.why}` : '',
    ].filter((n) => n !== '');
    out.push(`  ${name}`, ...wrap([field.help, ...notes].join(' '), 6, 100));
  }
  out.push('  --help, -h', '      Show this text', '  --version', '      Show the version', '');
  return out.join('\n');
}

function wrap(text: string, indent: number, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width - indent) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((l) => ' '.repeat(indent) + l);
}
