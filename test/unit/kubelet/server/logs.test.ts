import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { systemClock } from '../../../../src/core/index.ts';
import { compressLog } from '../../../../src/kubelet/logs/compress.ts';
import { LogLineParser } from '../../../../src/kubelet/server/logs/line-parser.ts';
import { type LogOptions, logOptions } from '../../../../src/kubelet/server/logs/options.ts';
import { readLog } from '../../../../src/kubelet/server/logs/reader.ts';

let dir = '';
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kat-logs-'));
});
after(() => rm(dir, { recursive: true, force: true }));

const ALL: LogOptions = { follow: false, previous: false, timestamps: false, stream: 'All' };
const T = '2026-01-02T03:04:05.123456789Z';
const line = (text: string, { tag = 'F', stream = 'stdout', time = T } = {}) => `${time} ${stream} ${tag} ${text}\n`;

function parse(chunks: Buffer[], filter: Partial<LogOptions> = {}): string {
  const parser = new LogLineParser({ ...ALL, ...filter });
  const out: Buffer[] = [];
  for (const chunk of chunks) parser.push(chunk, (text) => out.push(Buffer.from(text)));
  return Buffer.concat(out).toString('latin1');
}

interface Running {
  text(): string;
  until(want: (text: string) => boolean): Promise<void>;
  end(): void;
  done: Promise<void>;
  abort: AbortController;
}

/** Reads `path` and collects; `until` waits for the collected text. */
function read(path: string, options: Partial<LogOptions> = {}, pause?: () => Promise<void>): Running {
  let text = '';
  let ended = () => {};
  const waiting = new Set<() => void>();
  const abort = new AbortController();
  const done = readLog({
    path,
    options: { ...ALL, ...options },
    async write(piece) {
      text += piece.toString('latin1');
      for (const check of waiting) check();
      await pause?.();
    },
    onEnd(callback) {
      ended = callback;
      return () => {};
    },
    signal: abort.signal,
    clock: systemClock,
  });
  return {
    text: () => text,
    until: (want) =>
      new Promise((resolve) => {
        const check = () => {
          if (!want(text)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    end: () => ended(),
    done,
    abort,
  };
}

async function whole(path: string, options: Partial<LogOptions> = {}): Promise<string> {
  const reading = read(path, options);
  await reading.done;
  return reading.text();
}

let files = 0;
async function file(content: string | Buffer, name = `${++files}.log`): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  return path;
}

test('text comes without the heads, pieces of a long line joined', () => {
  const bytes = Buffer.from(line('one') + line('tw', { tag: 'P' }) + line('o', { tag: 'F' }) + line(''));
  assert.equal(parse([bytes]), 'one\ntwo\n\n');
});

test('timestamps stand before each line once, with nine digits', () => {
  const bytes = Buffer.from(
    line('a', { time: '2026-01-02T03:04:05.12+02:00' }) +
      line('b', { tag: 'P' }) +
      line('c') +
      line('d', { time: '2026-01-02T03:04:05Z' }),
  );
  assert.equal(
    parse([bytes], { timestamps: true }),
    `2026-01-02T03:04:05.120000000+02:00 a\n${T} bc\n2026-01-02T03:04:05.000000000Z d\n`,
  );
});

test('one stream alone, and nothing older than asked', () => {
  const bytes = Buffer.from(
    line('old', { time: '2026-01-02T03:00:00Z' }) + line('err', { stream: 'stderr' }) + line('out'),
  );
  assert.equal(parse([bytes], { stream: 'Stderr' }), 'err\n');
  assert.equal(parse([bytes], { stream: 'Stdout', sinceMs: Date.parse('2026-01-02T03:04:05Z') }), 'out\n');
});

test('what a power cut leaves in a log is left out, the lines around it are shown', () => {
  const bytes = Buffer.concat([
    Buffer.from(line('before')),
    Buffer.alloc(5000),
    Buffer.from(line('after nuls')),
    Buffer.from('\x01\x02garbage without a head\n\n   \n2026-99-99T00:00:00Z stdout F bad date\n'),
    Buffer.from(line('last')),
  ]);
  assert.equal(parse([bytes]), 'before\nafter nuls\nlast\n');
});

test('any bytes, cut anywhere, give the same text and no error', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b)),
    fc.string({ maxLength: 200 }).map((s) => Buffer.from(line(s.replaceAll('\n', ' ')))),
    fc
      .constantFrom(line('x', { tag: 'P' }), line('y', { stream: 'stderr' }), `${T} stdout F`, `${T} `, '\n', '\0\0')
      .map((s) => Buffer.from(s)),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 12 }),
      fc.array(fc.nat(400), { maxLength: 10 }),
      fc.boolean(),
      (pieces, cuts, timestamps) => {
        const bytes = Buffer.concat(pieces);
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(bytes.subarray(from));
        assert.equal(parse(chunks, { timestamps }), parse([bytes], { timestamps }));
      },
    ),
    { numRuns: 500 },
  );
});

test('well-formed lines come out as they went in', () => {
  const text = fc
    .uint8Array({ maxLength: 60 })
    .map((b) => Buffer.from(b.map((x) => (x === 10 ? 11 : x))).toString('latin1'));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 20 }), (texts) => {
      const bytes = Buffer.from(texts.map((t) => line(t)).join(''), 'latin1');
      assert.equal(parse([bytes]), texts.map((t) => `${t}\n`).join(''));
    }),
  );
});

test('the last lines of a file of any size are found', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 0, max: 9000 })), { maxLength: 60 }),
      fc.nat(70),
      async (shape, wanted) => {
        const expected: string[] = [];
        let content = '';
        for (const [pieces, size] of shape) {
          const parts = [...Array(pieces).fill('p'.repeat(size)), 'e'.repeat(size % 97)];
          content += parts.map((p, i) => line(p, { tag: i === parts.length - 1 ? 'F' : 'P' })).join('');
          expected.push(`${parts.join('')}\n`);
        }
        const path = await file(content, 'tail.log');
        assert.equal(await whole(path, { tailLines: wanted }), wanted === 0 ? '' : expected.slice(-wanted).join(''));
      },
    ),
    { numRuns: 60 },
  );
});

test('an unfinished last line counts as one', async () => {
  const path = await file(line('one') + line('two') + line('begun', { tag: 'P' }));
  assert.equal(await whole(path, { tailLines: 2 }), 'two\nbegun');
});

test('a limit cuts the answer at its byte, timestamps counted', async () => {
  const path = await file(line('abc') + line('def'));
  assert.equal(await whole(path, { limitBytes: 5 }), 'abc\nd');
  assert.equal(await whole(path, { limitBytes: 32, timestamps: true }), `${T} a`);
});

test('the tail and what is recent go back into rotated files, compressed ones too', async () => {
  const path = await file(line('five'));
  await writeFile(`${path}.20260102-030405`, line('three') + line('four'));
  await writeFile(`${path}.20260101-030405.gz`, gzipSync(line('one') + line('tw', { tag: 'P' }) + line('o')));
  await writeFile(`${path}.notadate`, line('never'));
  assert.equal(await whole(path, { tailLines: 2 }), 'four\nfive\n');
  assert.equal(await whole(path, { tailLines: 4 }), 'two\nthree\nfour\nfive\n');
  assert.equal(await whole(path, { tailLines: 50 }), 'one\ntwo\nthree\nfour\nfive\n');
  assert.equal(await whole(path, { sinceMs: 0 }), 'one\ntwo\nthree\nfour\nfive\n');
  assert.equal(await whole(path), 'five\n', 'without either, the file in use');
});

test('following shows new lines, goes on through rotation and truncation, and ends with the container', async () => {
  const path = await file(line('one'));
  const reading = read(path, { follow: true });
  await reading.until((t) => t === 'one\n');
  await appendFile(path, line('two'));
  await reading.until((t) => t.endsWith('two\n'));
  await rename(path, `${path}.20260102-030405`);
  await appendFile(`${path}.20260102-030405`, line('late'));
  await writeFile(path, line('three'));
  await reading.until((t) => t.endsWith('late\nthree\n'));
  await truncate(path, 0);
  await appendFile(path, line('4'));
  await reading.until((t) => t.endsWith('4\n'));
  await appendFile(path, line('last'));
  reading.end();
  await reading.done;
  assert.equal(reading.text(), 'one\ntwo\nlate\nthree\n4\nlast\n');
});

test('a slow follower misses nothing though the log was put aside and packed twice meanwhile', async () => {
  const path = await file(line('one'));
  let go: () => void = () => {};
  const reading = read(path, { follow: true }, () => new Promise<void>((resolve) => (go = resolve)));
  await reading.until((t) => t === 'one\n');
  const [first, second] = [`${path}.20260102-030405`, `${path}.20260102-030415`];
  await appendFile(path, line('two'));
  await utimes(path, 1_000, 1_000);
  await rename(path, first);
  await writeFile(path, line('three'));
  await utimes(path, 2_000, 2_000);
  await compressLog(first, new AbortController().signal);
  await rename(path, second);
  await writeFile(path, line('four'));
  for (const want of ['two\n', 'three\n', 'four\n']) {
    go();
    await reading.until((t) => t.endsWith(want));
  }
  go();
  reading.end();
  await reading.done;
  assert.equal(reading.text(), 'one\ntwo\nthree\nfour\n');
});

test('following ends when the client is gone', async () => {
  const path = await file(line('one'));
  const reading = read(path, { follow: true });
  await reading.until((t) => t !== '');
  reading.abort.abort();
  await assert.rejects(reading.done, { name: 'AbortError' });
});

test('a slow client holds the reading back', async () => {
  const path = await file(line('x'.repeat(1000)).repeat(2000));
  let go = () => {};
  let writes = 0;
  const reading = read(path, {}, () => {
    writes++;
    return new Promise((resolve) => {
      go = resolve;
    });
  });
  await reading.until((t) => t !== '');
  const seen = reading.text().length;
  assert.ok(seen <= 64 * 1024);
  assert.equal(writes, 1);
  const drain = setInterval(() => go(), 1);
  await reading.done;
  clearInterval(drain);
  assert.equal(reading.text().length, 2000 * 1001);
});

test('a link put in place of a log is refused', async () => {
  const path = join(dir, 'link.log');
  await symlink('/etc/passwd', path);
  await assert.rejects(whole(path), { code: 'LOG_UNREADABLE' });
  await assert.rejects(whole(join(dir, 'gone.log')), /no such file or directory/);
});

test('queries read as the API reads them', () => {
  const now = Date.parse('2026-01-02T00:00:10Z');
  const ask = (query: string) => logOptions(new URLSearchParams(query), now);
  assert.deepEqual(ask('follow=true&tailLines=5&timestamps=1&stream=All'), {
    follow: true,
    previous: false,
    timestamps: true,
    tailLines: 5,
    stream: 'All',
  });
  assert.equal(ask('sinceSeconds=10').sinceMs, now - 10_000);
  assert.equal(ask('sinceTime=2026-01-02T00:00:00Z').sinceMs, now - 10_000);
  assert.equal(ask('follow=false').follow, false);
  assert.equal(ask('tail=all').tailLines, undefined);
  for (const query of ['tailLines=x', 'sinceTime=yesterday', 'limitBytes=1.5'])
    assert.throws(() => ask(query), { status: 400 }, query);
  for (const query of [
    'tailLines=-1',
    'limitBytes=0',
    'sinceSeconds=0',
    'stream=Both',
    'stream=Stdout&tailLines=1',
    'sinceSeconds=1&sinceTime=2026-01-02T00:00:00Z',
  ])
    assert.throws(() => ask(query), { status: 422 }, query);
});
