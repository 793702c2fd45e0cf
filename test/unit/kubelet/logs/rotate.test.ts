import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { AgentError, type Logger } from '../../../../src/core/index.ts';
import { logPieces, rotatedPath } from '../../../../src/kubelet/logs/pieces.ts';
import { removeLog } from '../../../../src/kubelet/logs/rotate.ts';
import { type LogRotationPolicy, LogRotator } from '../../../../src/kubelet/logs/rotator.ts';
import { FakeClock } from '../../../fakes/clock.ts';

/** A folder with a log, and a runtime that opens it anew when it is asked to. */
async function setUp() {
  const folder = await mkdtemp(join(tmpdir(), 'kat-logs-'));
  const path = join(folder, '0.log');
  const clock = new FakeClock();
  const warnings: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    error() {},
    warn: (text, fields) => void warnings.push(`${text} ${JSON.stringify(fields)}`),
    child: () => log,
  };
  const runtime = {
    reopened: 0,
    fails: undefined as unknown,
    async reopenContainerLog() {
      if (this.fails !== undefined) throw this.fails;
      this.reopened++;
      await writeFile(path, '', { flag: 'a' });
    },
  };
  const rotator = (policy: LogRotationPolicy) =>
    new LogRotator({ policy, runtime, running: () => [{ containerId: 'c', path }], clock, log });
  return { folder, path, clock, warnings, runtime, rotator, names: async () => (await readdir(folder)).sort() };
}

describe('container logs', () => {
  let lab: Awaited<ReturnType<typeof setUp>>;
  beforeEach(async () => {
    lab = await setUp();
  });
  afterEach(() => rm(lab.folder, { recursive: true, force: true }));

  /** Fills the log and looks again later, `times` times. */
  const rotations = async (policy: LogRotationPolicy, times: number) => {
    const rotator = lab.rotator(policy);
    for (let i = 0; i < times; i++) {
      await writeFile(lab.path, `line ${i}\n`);
      await lab.clock.advance(1_000);
      await rotator.look();
    }
    return rotator;
  };

  it('are put aside when full, packed one rotation later, and the oldest goes', async () => {
    await rotations({ maxSize: 4, maxFiles: 4 }, 5);
    const names = await lab.names();
    assert.equal(names.length, 4, names.join());
    assert.deepEqual(
      names.map((name) => name.replace(/\d{8}-\d{6}/, 'T')),
      ['0.log', '0.log.T.gz', '0.log.T.gz', '0.log.T'],
    );
    const packed = names.filter((name) => name.endsWith('.gz'));
    const texts = await Promise.all(packed.map((name) => readFile(join(lab.folder, name))));
    assert.deepEqual(
      texts.map((bytes) => gunzipSync(bytes).toString()),
      ['line 2\n', 'line 3\n'],
    );
    assert.equal(await readFile(join(lab.folder, names[3] as string), 'utf8'), 'line 4\n');
    assert.equal(lab.runtime.reopened, 5);
  });

  it('of two files at most keep one behind the one in use', async () => {
    await rotations({ maxSize: 1, maxFiles: 2 }, 3);
    assert.equal((await lab.names()).length, 2);
  });

  it('that are not full, or never to be rotated, are left alone', async () => {
    await rotations({ maxSize: 100 }, 2);
    const never = lab.rotator({ maxSize: -1 });
    await never.start(new AbortController().signal);
    await lab.clock.advance(60_000);
    await never.stop();
    assert.deepEqual(await lab.names(), ['0.log']);
  });

  it('are looked at on the period', async () => {
    const rotator = lab.rotator({ maxSize: 1, monitorIntervalMs: 30_000 });
    await writeFile(lab.path, 'full');
    await rotator.start(new AbortController().signal);
    await lab.clock.advance(29_000);
    assert.deepEqual(await lab.names(), ['0.log']);
    await lab.clock.advance(1_000);
    await rotator.stop();
    assert.equal((await lab.names()).length, 2);
    assert.equal(lab.clock.timers, 0);
  });

  it('come back under their name if the writer can not open them anew, and the fault is told once', async () => {
    lab.runtime.fails = new AgentError({ code: 'CRI_UNKNOWN', message: 'no such writer' });
    await rotations({ maxSize: 1 }, 3);
    assert.deepEqual(await lab.names(), ['0.log']);
    assert.equal(lab.warnings.length, 1);
    assert.match(lab.warnings[0] as string, /no such writer/);
  });

  it('that an agent put aside before it died are opened anew', async () => {
    const rotator = lab.rotator({});
    await rotator.look();
    assert.equal(lab.runtime.reopened, 1);
    assert.deepEqual(await lab.names(), ['0.log']);
  });

  it('are tidied after a power cut: half-made copies go, of two copies the whole one stays', async () => {
    const at = (name: string) => join(lab.folder, name);
    await writeFile(at('0.log.20260101-000000.tmp'), 'half');
    await writeFile(at('0.log.20260101-000001'), 'whole');
    await writeFile(at('0.log.20260101-000001.gz'), gzipSync('whole'));
    await writeFile(at('0.log.20260101-000002'), 'torn copy');
    await writeFile(at('0.log.20260101-000002.gz'), gzipSync('torn copy'));
    await truncate(at('0.log.20260101-000002.gz'), 9);
    await writeFile(at('10.log.20260101-000002'), "another container's");
    await writeFile(at('0.log.notes'), "somebody's");
    await rotations({ maxSize: 1, maxFiles: 10 }, 1);
    const names = await lab.names();
    assert.equal(names.filter((name) => name.startsWith('0.log.2026')).length, 3, names.join());
    assert.ok(names.includes('10.log.20260101-000002') && names.includes('0.log.notes'));
    assert.equal(gunzipSync(await readFile(at('0.log.20260101-000001.gz'))).toString(), 'whole');
    assert.equal(gunzipSync(await readFile(at('0.log.20260101-000002.gz'))).toString(), 'torn copy');
  });

  it('are rotated even if a piece can not be packed, and never through a link', async () => {
    const secret = join(lab.folder, 'secret');
    await writeFile(secret, 'of the host');
    await symlink(secret, join(lab.folder, '0.log.20260101-000000'));
    await rotations({ maxSize: 1 }, 1);
    const names = await lab.names();
    assert.ok(!names.some((name) => name.endsWith('.gz')), names.join());
    assert.equal(names.filter((name) => name.startsWith('0.log.')).length, 2);
    assert.equal(lab.warnings.length, 1);
  });

  it('are rotated even if somebody put a pipe where a packed piece would be', async () => {
    await writeFile(join(lab.folder, '0.log.20260101-000000'), 'a piece');
    execFileSync('mkfifo', [join(lab.folder, '0.log.20260101-000000.gz')]);
    await rotations({ maxSize: 1, maxFiles: 10 }, 1);
    assert.equal(lab.runtime.reopened, 1);
    assert.equal(gunzipSync(await readFile(join(lab.folder, '0.log.20260101-000000.gz'))).toString(), 'a piece');
  });

  it('go with all their pieces', async () => {
    await rotations({ maxSize: 1 }, 3);
    await writeFile(join(lab.folder, '1.log'), '');
    await removeLog(lab.path);
    assert.deepEqual(await lab.names(), ['1.log']);
    await removeLog(join(lab.folder, 'gone/0.log'));
  });
});

describe('the pieces of a log', () => {
  it('are told from all other names', () => {
    const path = '/p/0.log';
    fc.assert(
      fc.property(fc.array(fc.string()), fc.date({ noInvalidDate: true }), (others, date) => {
        const own = rotatedPath(path, date.getTime() % 4e12).slice(3);
        const { kept } = logPieces(path, [...others, own]);
        assert.ok(/^0\.log\.\d{8}-\d{6}$/.test(own) ? kept.includes(own) : true);
      }),
    );
  });
});
