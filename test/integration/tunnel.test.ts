import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { WebSocketServer } from 'ws';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { ServerTunnel, TunnelManager, type TunnelManagerOptions } from '../../src/tunnel/index.ts';
import type { RemotedialerServerOptions } from '../standin/remotedialer.ts';
import { makePki } from './tunnel-support/pki.ts';
import { startTunnelServer } from './tunnel-support/server.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of buffers alive now: what is only waiting for the collector does not count. */
function heldBytes(): number {
  collect();
  return process.memoryUsage().arrayBuffers;
}

const pki = makePki(['127.0.0.1']);
const credentials = () => ({ ca: pki.serverCa, ...pki.node });

/** Stands for the kubelet: `behave` gets each connection. */
let behave: (socket: Socket) => void = (socket) => void socket.pipe(socket);
let kubelet: Server;
let kubeletPort: number;

before(async () => {
  kubelet = createServer((socket) => {
    socket.on('error', () => {});
    behave(socket);
  });
  kubelet.listen(0, '127.0.0.1');
  await once(kubelet, 'listening');
  kubeletPort = (kubelet.address() as { port: number }).port;
});
after(() => kubelet.close());

async function tunnel(options: RemotedialerServerOptions = {}, more: Partial<TunnelManagerOptions> = {}) {
  const server = await startTunnelServer(pki, { host: '127.0.0.1', port: 0 }, options);
  const health: [string, boolean, string][] = [];
  const waiting: (() => void)[] = [];
  const manager = new TunnelManager({
    firstServer: `127.0.0.1:${server.port}`,
    credentials,
    facts: () => ({ mode: 'agent', kubeletPort, nodeIps: [], clusterCidrs: [], pods: [] }),
    kubeletAddress: () => '127.0.0.1',
    onHealth: (...event) => {
      health.push(event);
      for (const wake of waiting.splice(0)) wake();
    },
    onServers: () => {},
    clock: systemClock,
    log: silentLogger,
    ...more,
  });
  await manager.start(new AbortController().signal);
  const healthy = async (ok: boolean) => {
    while (health.at(-1)?.[1] !== ok) await new Promise<void>((resolve) => waiting.push(resolve));
    return health.at(-1) as [string, boolean, string];
  };
  return {
    ...server,
    manager,
    health,
    healthy,
    dial: () => server.dialer.dial('n1', 'tcp', `127.0.0.1:${kubeletPort}`),
    async stop() {
      await manager.stop();
      server.dialer.closeAll();
      server.https.close();
    },
  };
}

test('a request through the tunnel reaches the kubelet and its answer comes back whole', async () => {
  const t = await tunnel();
  await t.healthy(true);
  behave = (socket) => void socket.once('data', (d) => socket.end(`got ${d}`));
  const stream = t.dial();
  stream.write('hello');
  let text = '';
  for await (const chunk of stream) text += chunk;
  assert.equal(text, 'got hello');
  assert.equal(t.manager.status()[0]?.state, 'open');
  await t.stop();
});

test('a port that is not the kubelet’s is refused, the session lives on', async () => {
  const t = await tunnel();
  await t.healthy(true);
  const refused = t.dialer.dial('n1', 'tcp', '127.0.0.1:22');
  refused.on('error', () => {});
  refused.resume();
  await once(refused, 'end');
  behave = (socket) => void socket.end('here');
  const stream = t.dial();
  assert.equal(String((await once(stream, 'data'))[0]), 'here');
  assert.equal(t.manager.status()[0]?.opened, 1);
  await t.stop();
});

for (const old of [false, true])
  test(`50 MB to a reader that never reads: memory stays bounded, others go on (${old ? 'server without Pause' : 'server with Pause'})`, async () => {
    const t = await tunnel({ old });
    await t.healthy(true);
    behave = (socket) => void socket.pause();
    const stream = t.dial();
    stream.on('error', () => {});
    const piece = Buffer.alloc(256 * 1024);
    let sent = 0;
    const flood = () => {
      while (sent < 50 * 1024 * 1024 && !stream.destroyed) {
        sent += piece.length;
        if (!stream.write(piece)) return;
      }
    };
    stream.on('drain', flood);
    flood();
    const started = heldBytes();
    let peak = 0;
    const meter = setInterval(() => {
      peak = Math.max(peak, heldBytes() - started);
    }, 50);
    // The kubelet never reads: either the server is paused, or the connection is given up; both within seconds.
    behave = (socket) => void socket.pipe(socket);
    const deadline = Date.now() + 9_000;
    let echoed = 0;
    while (Date.now() < deadline && echoed < 5) {
      const other = t.dial();
      other.on('error', () => {});
      other.write('ping');
      await once(other, 'data');
      echoed++;
      other.destroy();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    clearInterval(meter);
    assert.equal(echoed, 5);
    assert.ok(peak < 40 * 1024 * 1024, `${Math.round(peak / 1024 / 1024)} MiB at the peak, both ends together`);
    assert.equal(t.manager.status()[0]?.opened, 1, 'the session itself lives');
    await t.stop();
  });

test('50 MB from the kubelet to a slow client: paused, resumed, complete', async () => {
  const t = await tunnel();
  await t.healthy(true);
  const size = 50 * 1024 * 1024;
  behave = (socket) => {
    let left = size;
    const piece = Buffer.alloc(64 * 1024, 7);
    const more = () => {
      while (left > 0) {
        left -= piece.length;
        if (!socket.write(piece)) return;
      }
      socket.end();
    };
    socket.on('drain', more);
    more();
  };
  const stream = t.dial();
  const started = heldBytes();
  let got = 0;
  let peak = 0;
  let pieces = 0;
  let nap = true;
  for await (const chunk of stream) {
    got += (chunk as Buffer).length;
    if (++pieces % 50 === 0) peak = Math.max(peak, heldBytes() - started);
    if (nap && got > 1024 * 1024) {
      nap = false;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
  assert.equal(got, size);
  assert.ok(peak < 24 * 1024 * 1024, `${Math.round(peak / 1024 / 1024)} MiB at the peak, both ends together`);
  await t.stop();
});

test('new certificates: the session is replaced without a moment of bad health', async () => {
  let asked = 0;
  const t = await tunnel(
    {},
    {
      credentials: () => {
        asked++;
        return credentials();
      },
    },
  );
  await t.healthy(true);
  behave = (socket) => void socket.pipe(socket);
  const busy = t.dial();
  busy.write('a');
  await once(busy, 'data');
  t.manager.renew();
  busy.write('b');
  assert.equal(String((await once(busy, 'data'))[0]), 'b', 'a connection in use is left alone');
  assert.equal(t.manager.status()[0]?.opened, 1);
  busy.destroy();
  while (t.manager.status()[0]?.opened !== 2 || t.dialer.sessions('n1') !== 1)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(
    t.health.map(([, ok]) => ok),
    [true],
  );
  assert.equal(asked, 2);
  await t.stop();
});

test('a server without our CA, and one that does not know the node, are told apart', async () => {
  const other = makePki(['127.0.0.1']);
  const wrongCa = await tunnel({}, { credentials: () => ({ ...credentials(), ca: other.serverCa }) });
  assert.match((await wrongCa.healthy(false))[2], /certificate|self-signed/);
  await wrongCa.stop();
  const wrongNode = await tunnel({}, { credentials: () => ({ ...other.node, ca: pki.serverCa }) });
  assert.match((await wrongNode.healthy(false))[2], /refused the tunnel with 401: failed authentication/);
  await wrongNode.stop();
});

test('servers that leave the list are cut, new ones are dialled, an empty list changes nothing', async (t) => {
  const lists: (readonly string[])[] = [];
  const one = await tunnel({}, { onServers: (servers) => lists.push(servers) });
  const two = await startTunnelServer(pki, { host: '127.0.0.1', port: 0 });
  await one.healthy(true);
  const [a, b] = [`127.0.0.1:${one.port}`, `127.0.0.1:${two.port}`];
  one.manager.setServers([]);
  one.manager.setServers([b, a]);
  assert.deepEqual(lists, [[a, b].sort()]);
  while (!two.dialer.hasSession('n1')) await new Promise((resolve) => setTimeout(resolve, 10));
  t.mock.timers.enable({ apis: ['setTimeout'] });
  one.manager.setServers([a]);
  one.manager.setServers([b]);
  t.mock.timers.tick(2_999);
  assert.equal(lists.length, 1);
  t.mock.timers.tick(1);
  t.mock.timers.reset();
  assert.deepEqual(lists.at(-1), [b]);
  while (one.dialer.hasSession('n1')) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(two.dialer.hasSession('n1'));
  await one.stop();
  two.dialer.closeAll();
  two.https.close();
});

test('a server that sends nothing but rubbish is redialled with a pause, and nothing breaks', async () => {
  const upgrader = new WebSocketServer({ noServer: true });
  const { https, port } = await startTunnelServer(pki, { host: '127.0.0.1', port: 0 });
  https.removeAllListeners('upgrade');
  let sessions = 0;
  const rubbish = fc.sample(fc.uint8Array({ maxLength: 80 }), 200);
  https.on('upgrade', (request, socket, head) =>
    upgrader.handleUpgrade(request, socket, head, (ws) => {
      ws.on('error', () => {});
      sessions++;
      for (const bytes of rubbish.slice((sessions - 1) * 50)) ws.send(bytes);
    }),
  );
  const health: boolean[] = [];
  const endless = new ServerTunnel({
    server: `127.0.0.1:${port}`,
    credentials,
    open: (_, address) => (address === '' ? 'no' : connect({ port: kubeletPort, host: '127.0.0.1' })),
    onHealth: (ok) => health.push(ok),
    clock: systemClock,
    log: silentLogger,
  });
  endless.start();
  while (sessions < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  await endless.stop();
  assert.ok(health.includes(false));
  https.close();
});

test('the handshake is what k3s sends: HTTP/1.1, no subprotocol, no authorization', async () => {
  const t = await tunnel();
  const seen: Record<string, unknown>[] = [];
  t.https.on('upgrade', (request) => seen.push({ url: request.url, ...request.headers }));
  await t.healthy(true);
  t.dialer.closeAll();
  await t.healthy(false);
  await t.healthy(true);
  const headers = seen.at(-1) ?? {};
  assert.equal(headers.url, '/v1-k3s/connect');
  for (const name of ['authorization', 'sec-websocket-protocol', 'sec-websocket-extensions', 'origin'])
    assert.equal(headers[name], undefined, name);
  await t.stop();
});

test('a tunnel whose health nobody can take is opened again all the same', async () => {
  let reports = 0;
  const t = await tunnel(
    {},
    {
      onHealth: () => {
        reports++;
        throw new Error('the load balancer is out of order');
      },
    },
  );
  while (reports < 1) await systemClock.sleep(10);
  t.dialer.closeAll();
  while (t.manager.status()[0]?.opened !== 2) await systemClock.sleep(10);
  assert.ok(reports >= 2);
  await t.stop();
});
