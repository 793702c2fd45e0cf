import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { kubeletArgDocument } from '../../../../scripts/kubelet-arg-doc.ts';
import type { Key } from '../../../../src/config/kubelet/key.ts';
import { OTHER_KEYS } from '../../../../src/config/kubelet/other-keys.ts';
import { KEYS } from '../../../../src/config/kubelet/table.ts';

const root = join(import.meta.dirname, '../../../..');
/** Names of all flags and fields of two versions of the original. */
const names = JSON.parse(readFileSync(join(root, 'test/fixtures/config/kubelet-names.json'), 'utf8')) as {
  flags: Record<string, string[]>;
  fields: Record<string, string[]>;
};
const keys = Object.entries(KEYS) as [string, Key<unknown>][];

test('every flag and field of the oldest and the newest kubelet is known', () => {
  const flags = new Set([
    ...keys.map(([, key]) => key.flag),
    ...OTHER_KEYS.map((key) => key.flag),
    'config',
    'config-dir',
  ]);
  const fields = new Set([...keys.map(([name, key]) => key.field ?? name), ...OTHER_KEYS.map((key) => key.field)]);
  const isKnown = (field: string) => fields.has(field) || [...fields].some((one) => one?.startsWith(`${field}.`));
  for (const version of ['1.21', '1.36']) {
    assert.deepEqual(
      names.flags[version]?.filter((flag) => !flags.has(flag)),
      [],
      version,
    );
    assert.deepEqual(
      names.fields[version]?.filter((field) => !isKnown(field)),
      [],
      version,
    );
  }
});

test('no flag and no field stands in the tables twice', () => {
  const all = [
    ...keys.flatMap(([name, key]) => [
      key.flag && `--${key.flag}`,
      key.field === null ? undefined : (key.field ?? name),
    ]),
    ...OTHER_KEYS.flatMap((key) => [key.flag && `--${key.flag}`, key.field]),
  ].filter((one) => one !== undefined);
  assert.deepEqual(
    all.filter((one, i) => all.indexOf(one) !== i),
    [],
  );
});

test('docs/kubelet-arg.md says what the tables say (else: node scripts/kubelet-arg-doc.ts)', () => {
  assert.equal(readFileSync(join(root, 'docs/kubelet-arg.md'), 'utf8'), kubeletArgDocument());
});
