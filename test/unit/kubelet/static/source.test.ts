import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { parseDocuments } from '../../../../src/config/index.ts';
import { type Logger, silentLogger, systemClock } from '../../../../src/core/index.ts';
import { StaticPodSource } from '../../../../src/kubelet/static/index.ts';

let dir: string;
let source: StaticPodSource | undefined;
const said: string[] = [];
const log: Logger = { ...silentLogger, error: (text, fields) => void said.push(`${text} ${JSON.stringify(fields)}`) };
/** `+name` and `-name`, in order. */
const changes: string[] = [];
let arrived: () => void = () => {};

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kat-static-'));
  said.length = 0;
  changes.length = 0;
});

afterEach(async () => {
  await source?.stop();
  await rm(dir, { recursive: true });
});

const manifest = (name: string, image = 'i') =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec: { containers: [{ name: 'c', image }] } });

async function begin(path: string): Promise<StaticPodSource> {
  source = new StaticPodSource({ path, nodeName: 'n', parse: parseDocuments, clock: systemClock, log });
  source.subscribe(({ type, pod }) => {
    changes.push(`${type === 'set' ? '+' : '-'}${pod.metadata.name}`);
    arrived();
  });
  await source.start(new AbortController().signal);
  await source.whenSynced();
  return source;
}

async function until(done: () => boolean): Promise<void> {
  while (!done())
    await new Promise<void>((resolve) => {
      arrived = resolve;
    });
}

test('manifests are seen at the start, added, changed and removed as their files are', async () => {
  await writeFile(join(dir, 'a.json'), manifest('a'));
  await writeFile(join(dir, '.hidden.json'), manifest('h'));
  await mkdir(join(dir, 'folder'));
  await begin(dir);
  assert.deepEqual(changes, ['+a-n']);
  await writeFile(
    join(dir, 'b.yaml'),
    'apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {containers: [{name: c, image: i}]}',
  );
  await until(() => changes.length === 2);
  await writeFile(join(dir, 'next'), manifest('a', 'other'));
  await rename(join(dir, 'next'), join(dir, 'a.json'));
  await until(() => changes.length === 4);
  await rm(join(dir, 'b.yaml'));
  await until(() => changes.length === 5);
  assert.deepEqual(changes, ['+a-n', '+b-n', '-a-n', '+a-n', '-b-n']);
});

test('a file that breaks keeps its pod, says so, and comes back when mended', async () => {
  await writeFile(join(dir, 'a.json'), manifest('a'));
  await writeFile(join(dir, 'z.json'), '{broken: [');
  const files = await begin(dir);
  assert.match(said.join(), /a manifest can not be used .*z\.json.*there is no pod of it/);
  assert.equal(files.spares({ uid: 'a'.repeat(32) }), true, 'what runs may be of the broken one');
  assert.equal(files.spares({ uid: '11111111-2222-3333-4444-555555555555' }), false);
  await writeFile(join(dir, 'z.json'), manifest('z'));
  await until(() => changes.length === 2);
  await writeFile(join(dir, 'a.json'), '{"kind": "Deployment"}');
  await writeFile(join(dir, 'q.json'), manifest('q'));
  await until(() => changes.length === 3);
  assert.deepEqual(changes, ['+a-n', '+z-n', '+q-n']);
  assert.match(said.at(-1) ?? '', /a\.json.*Deployment.*goes on/);
  assert.equal(files.faults.length, 1);
  await writeFile(join(dir, 'a.json'), manifest('a', 'new'));
  await until(() => changes.length === 5);
  assert.deepEqual(changes.slice(3), ['-a-n', '+a-n']);
});

test('of two files with one name the first has it, and the other follows', async () => {
  await writeFile(join(dir, 'a.json'), manifest('a', 'one'));
  await writeFile(join(dir, 'b.json'), manifest('a', 'two'));
  await begin(dir);
  assert.deepEqual(changes, ['+a-n']);
  assert.match(said.join(), /two manifests name the same pod/);
  await rm(join(dir, 'a.json'));
  await until(() => changes.length === 3);
  assert.deepEqual(changes, ['+a-n', '-a-n', '+a-n']);
});

test('the path may be one file, and need not be there yet', async () => {
  const path = join(dir, 'only.json');
  const files = await begin(path);
  assert.equal(files.synced, true);
  await writeFile(join(dir, 'x.json'), manifest('x'));
  await writeFile(path, manifest('only'));
  await until(() => changes.length === 1);
  await rm(path);
  await until(() => changes.length === 2);
  assert.deepEqual(changes, ['+only-n', '-only-n']);
});

test('a folder made later, and one that is replaced, are seen', async () => {
  const path = join(dir, 'manifests');
  await begin(path);
  await mkdir(join(dir, 'next'));
  await writeFile(join(dir, 'next', 'a.json'), manifest('a'));
  await rename(join(dir, 'next'), path);
  await until(() => changes.length === 1);
  await rename(path, join(dir, 'old'));
  await until(() => changes.length === 2);
  assert.deepEqual(changes, ['+a-n', '-a-n']);
});
