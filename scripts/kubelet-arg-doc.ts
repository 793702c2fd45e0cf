import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fieldOf, type Key } from '../src/config/kubelet/key.ts';
import { OTHER_KEYS } from '../src/config/kubelet/other-keys.ts';
import { KEYS } from '../src/config/kubelet/table.ts';

/** docs/kubelet-arg.md, made of the tables of src/config/kubelet. Run as a program it writes the file. */
export function kubeletArgDocument(): string {
  const keys = Object.entries(KEYS) as [string, Key<unknown>][];
  const rows = (wanted: (key: Key<unknown>) => boolean) => keys.filter(([, key]) => wanted(key));
  const obeyed = rows((key) => key.notYet === undefined).map(([name, key]) =>
    row(key.flag, fieldOf(name, key), key.kind.name, fallback(key), cell(key.note)),
  );
  const later = rows((key) => key.notYet !== undefined).map(([name, key]) =>
    row(key.flag, fieldOf(name, key), key.kind.name, cell(key.notYet)),
  );
  const others = (state: string) =>
    OTHER_KEYS.filter((key) => key.state === state).map((key) =>
      row(
        key.flag,
        key.field,
        cell(key.why) +
          (key.harmless && state !== 'needless'
            ? ` (silent: ${key.harmless.map((value) => (value === '' ? '""' : String(value))).join(', ')})`
            : '') +
          (key.until === undefined ? '' : `; until 1.${key.until}`),
      ),
    );
  return `# Settings of the kubelet

Made by \`node scripts/kubelet-arg-doc.ts\`; a test keeps it true. Known are all flags and all fields of a
KubeletConfiguration of Kubernetes 1.21 to 1.36.

A setting is given as \`--kubelet-arg=FLAG=VALUE\` (\`kubelet-arg:\` in config.yaml), or in a file of apiVersion
\`kubelet.config.k8s.io/v1beta1\`, kind \`KubeletConfiguration\`. They apply in this order, the last one wins: k3s's
defaults; files that end in \`.conf\` in \`DATA-DIR/agent/etc/kubelet.conf.d\`, by name, where the file of
\`--kubelet-arg=config=FILE\` comes in as \`10-cli-config.conf\` and the folder of \`--kubelet-arg=config-dir=DIR\` as
\`20-cli-config-dir/\`; the flags. Files are merged as JSON merge patches: maps add up, \`null\` takes a key away, all else
replaces. \`00-k3s-defaults.conf\`, which the original writes, is not read. In a file 0, "" and 0s mean the default where
the original can't tell them from nothing.

A flag that no kubelet has, and a value of the wrong kind, end the start with an error that names it; a field that no
kubelet has is a warning.

## Obeyed

| flag | field | value | default | |
|---|---|---|---|---|
${obeyed.join('\n')}

## Not yet

Checked, then a warning at the start says that it has no effect.

| flag | field | value | so far |
|---|---|---|---|
${later.join('\n')}

## Ignored with a warning

| flag | field | why |
|---|---|---|
${others('ignored').join('\n')}

## Refused

The agent does not start with them.

| flag | field | why |
|---|---|---|
${others('refused').join('\n')}

## Needless here

Accepted without a word.

| flag | field | why |
|---|---|---|
${others('needless').join('\n')}
`;
}

function fallback(key: Key<unknown>): string {
  return key.fallback === undefined ? '' : cell(key.kind.show(key.fallback));
}

function row(flag: string | undefined, name: string | undefined, ...cells: string[]): string {
  const code = (text: string | undefined) => (text === undefined ? '' : `\`${text}\``);
  return `| ${[code(flag), code(name), ...cells].join(' | ')} |`.replaceAll(/ +\|/g, ' |');
}

function cell(text: string | undefined): string {
  return (text ?? '').replaceAll('|', '\\|');
}

if (import.meta.main) writeFileSync(join(import.meta.dirname, '../docs/kubelet-arg.md'), kubeletArgDocument());
