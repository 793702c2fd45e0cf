import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  createLogger,
  hostExec,
  listTree,
  publishIfChanged,
  readState,
  readText,
  writeFileAtomic,
  writeIfChanged,
  writeState,
} from '../../../src/host/index.ts';
import { sweepBeside, temporaryPath } from '../../../src/host/temporary.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'files-'));
});
after(() => rm(dir, { recursive: true }));

test('an atomic write sets the mode whatever the umask and leaves no temporary file', async () => {
  const old = process.umask(0o077);
  try {
    await writeFileAtomic(join(dir, 'a/b/c'), 'x', 0o644);
  } finally {
    process.umask(old);
  }
  assert.equal((await stat(join(dir, 'a/b/c'))).mode & 0o777, 0o644);
  assert.deepEqual(await readdir(join(dir, 'a/b')), ['c']);
});

test('what a power cut left beside a file is removed once, but never what somebody writes', async () => {
  const folder = join(dir, 'cut');
  await mkdir(folder);
  const dead = '4194305'; // one more than Linux gives out
  const left = [`key.tmp-${dead}-0a1b2c3d`, `key.tmp-${process.pid}-0a1b2c3d`, 'other.tmp-0a1b2c3d'];
  const kept = ['key', `key.tmp-${process.ppid}-0a1b2c3d`, 'notes.tmp-x', 'key.tmp'];
  for (const name of [...left, ...kept]) await writeFile(join(folder, name), 'same');
  assert.equal(await writeIfChanged(join(folder, 'key'), 'same'), false);
  assert.deepEqual((await readdir(folder)).sort(), kept.sort());
  for (const write of [writeFileAtomic, publishIfChanged]) {
    const other = join(dir, `cut-${write.name}`);
    await mkdir(other);
    await writeFile(join(other, left[0] as string), '');
    await Promise.all(['a', 'b', 'c'].map((name) => write(join(other, name), 'x', 0o600)));
    assert.deepEqual(await readdir(other), ['a', 'b', 'c']);
  }
});

test('a folder that is looked through again keeps what this process writes in it', async () => {
  const path = join(dir, 'again', 'file');
  await mkdir(join(dir, 'again'));
  await sweepBeside(path);
  const [own, left] = [temporaryPath(path), `${path}.tmp-4194305-0a1b2c3d`];
  for (const name of [own, left]) await writeFile(name, '');
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => sweepBeside(join(dir, 'pods', String(i), 'file'))));
  await sweepBeside(path);
  assert.deepEqual(await readdir(join(dir, 'again')), [basename(own)]);
});

test('a tree is listed by paths relative to it, however its folder is written', async () => {
  await mkdir(join(dir, 'tree/sub/deep'), { recursive: true });
  for (const path of ['a', 'sub/b', 'sub/deep/c']) await writeFile(join(dir, 'tree', path), '');
  for (const way of ['tree', 'tree/', './tree', 'tree//', 'tree/sub/../'])
    assert.deepEqual((await listTree(`${dir}/${way}`))?.sort(), ['a', 'sub/b', 'sub/deep/c'], way);
  assert.equal(await listTree(join(dir, 'no tree')), undefined);
});

test('a file that already says so is not written again', async () => {
  const path = join(dir, 'same');
  assert.equal(await writeIfChanged(path, 'one'), true);
  assert.equal(await writeIfChanged(path, 'one'), false);
  assert.equal(await writeIfChanged(path, 'two'), true);
  assert.equal(await readText(join(dir, 'missing')), undefined);
});

test('a state file that was cut short is set aside, not believed', async () => {
  const path = join(dir, 'state.json');
  await writeState(path, { pods: ['a', 'b'] });
  assert.deepEqual(await readState(path), { pods: ['a', 'b'] });
  await truncate(path, 30);
  assert.equal(await readState(path), undefined);
  assert.ok((await readdir(dir)).includes('state.json.broken'));
  await writeFile(path, '{"sha256":"00","data":{"pods":[]}}');
  assert.equal(await readState(path), undefined);
});

test('a missing program, a failure and a timeout are told apart', async () => {
  await assert.rejects(hostExec.run(['/no/such/program']), { code: 'EXEC_NOT_FOUND' });
  await assert.rejects(hostExec.run(['false']), { code: 'EXEC_FAILED' });
  await assert.rejects(hostExec.run(['sleep', '10'], { timeoutMs: 50 }), { code: 'EXEC_TIMEOUT' });
  assert.equal((await hostExec.run(['cat'], { input: 'hello' })).stdout, 'hello');
});

test('journal lines carry priorities and never a secret', async () => {
  const lines: string[] = [];
  const log = createLogger({ debug: false, style: 'journal', write: (line) => lines.push(line) });
  log.debug('not shown');
  log.info('joined', { server: 'https://10.0.0.1:6443', note: 'two words' });
  log.error('bad', { error: `token K10${'ab'.repeat(32)}::server:secretpw` });
  assert.equal(lines[0], '<6>joined server=https://10.0.0.1:6443 note="two words"\n');
  assert.match(lines[1] as string, /^<3>bad /);
  assert.doesNotMatch(lines[1] as string, /secretpw/);
  assert.equal(lines.length, 2);
  assert.ok(await readFile('/proc/self/stat', 'utf8'));
});
