import assert from 'node:assert/strict';
import fs from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { createPluginWatcher } from '../../../src/kubelet/plugins/index.ts';
import { createCsiDriver } from '../../fakes/csi-driver.ts';

async function until(what: string, check: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!check()) {
    if (Date.now() > end) throw new Error(`not so in time: ${what}`);
    await systemClock.sleep(10);
  }
}

describe('the plugin registry', () => {
  let dir: string;
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  const seen: string[] = [];
  const stop = new AbortController();
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kat-plugins-'));
    const watcher = createPluginWatcher({
      directory: join(dir, 'registry'),
      handlers: {
        CSIPlugin: {
          async register(info, socket) {
            seen.push(`+${info.name}`);
            if (info.name === 'unwanted') throw new Error('not here');
            assert.match(socket, /csi\.sock$/);
          },
          unregister: (info) => void seen.push(`-${info.name}`),
        },
      },
      clock: systemClock,
      log: silentLogger,
    });
    await watcher.start(stop.signal);
  });
  after(async () => {
    stop.abort();
    for (const server of servers) server.close();
    for (const socket of sockets) socket.destroy();
    await rm(dir, { recursive: true, force: true });
  });
  const plugin = (name: string) => createCsiDriver({ name, dir: join(dir, name), registry: join(dir, 'registry') });

  it('takes up a plugin beside one that hangs, one that talks nonsense and one that is refused', async () => {
    for (const [name, answer] of [
      ['silent', ''],
      ['nonsense', 'HTTP/1.0 500 what\r\n\r\n'],
    ] as const)
      servers.push(
        createServer((socket) => {
          sockets.push(socket);
          socket.on('error', () => {});
          socket.write(answer);
        }).listen(join(dir, 'registry', name)),
      );
    const unwanted = plugin('unwanted');
    await unwanted.start();
    const good = plugin('good');
    await good.start();
    await until('both were asked', () => good.notices.length > 0 && unwanted.notices.length > 0);
    assert.deepEqual(good.notices, [{ registered: true, error: '' }]);
    assert.deepEqual(unwanted.notices[0], { registered: false, error: 'not here' });
    unwanted.kill();
    good.kill();
    await until('it is forgotten', () => seen.includes('-good'));
    assert.equal(seen.includes('-unwanted'), false, 'what never registered is not taken back');
  });

  it('notices a plugin that came back at the same place', async () => {
    const again = plugin('again');
    await again.start();
    await until('registered', () => again.notices.length === 1);
    again.kill();
    await again.start();
    await until('registered once more', () => again.notices.length === 2);
    again.kill();
    await until('gone', () => seen.filter((s) => s === '-again').length >= 1);
  });

  it('finds plugins in a folder that was removed and made anew', async () => {
    await rm(join(dir, 'registry'), { recursive: true });
    await until('there is a folder again', () => fs.existsSync(join(dir, 'registry')));
    const late = plugin('late');
    await late.start();
    await until('registered', () => late.notices.length === 1);
    late.kill();
    await until('gone', () => seen.includes('-late'));
  });

  it('finds plugins on a host that is out of inotify watches', async (t) => {
    t.mock.method(fs, 'watch', () => {
      throw Object.assign(new Error('System limit for number of file watchers reached'), { code: 'ENOSPC' });
    });
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    const found: string[] = [];
    const watcher = createPluginWatcher({
      directory: join(dir, 'unwatched'),
      handlers: { CSIPlugin: { register: async (info) => void found.push(info.name), unregister() {} } },
      clock: { ...systemClock, after: (ms, fn) => systemClock.after(Math.min(ms, 20), fn) },
      log: silentLogger,
    });
    await watcher.start(stop.signal);
    const unseen = createCsiDriver({ name: 'unseen', dir: join(dir, 'unseen'), registry: join(dir, 'unwatched') });
    await unseen.start();
    await until('registered', () => found.includes('unseen'));
    unseen.kill();
    await watcher.stop();
  });
});
