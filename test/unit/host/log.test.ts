import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import type { Exec } from '../../../src/host/index.ts';
import { createNotifier } from '../../../src/host/index.ts';

test('a log that can not be written does not end the process', async () => {
  const script = `
    import { createLogger } from ${JSON.stringify(new URL('../../../src/host/index.ts', import.meta.url).href)};
    const log = createLogger({ debug: false, style: 'journal' });
    log.info('one');
    setTimeout(() => { log.info('two'); setTimeout(() => console.log('goes on'), 20); }, 20);`;
  const full = openSync('/dev/full', 'w');
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', full],
  });
  closeSync(full);
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  assert.equal(said, 'goes on\n');
  assert.equal(code, 0);
});

test('a status for systemd stays one assignment whatever a server put into it', async () => {
  const calls: (readonly string[])[] = [];
  const exec: Exec = {
    run: async (argv) => {
      calls.push(argv);
      return { code: 0, stdout: '', stderr: '' };
    },
  };
  const notifier = createNotifier({ NOTIFY_SOCKET: '/run/x' }, exec);
  notifier.ready('can not join: the server says "no\nMAINPID=1\r\nSTOPPING=1"');
  assert.deepEqual(calls[0]?.slice(2), ['READY=1', 'STATUS=can not join: the server says "no MAINPID=1 STOPPING=1"']);
});
