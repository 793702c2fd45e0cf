import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { silentLogger } from '../../src/core/index.ts';
import { LoadBalancer, type LoadBalancerOptions } from '../../src/loadbalancer/index.ts';
import { makePki } from './tunnel-support/pki.ts';

const pki = makePki(['127.0.0.1']);

/** A TLS server that says its name, then echoes. */
interface Echo {
  name: string;
  address: string;
  port: number;
  sockets: Set<Socket>;
  stop(): Promise<void>;
}

async function echo(name: string, port = 0): Promise<Echo> {
  const sockets = new Set<Socket>();
  const server = createTlsServer(pki.server, (socket) => {
    socket.on('error', () => {});
    socket.write(`${name}\n`);
    socket.pipe(socket);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const actual = (server.address() as { port: number }).port;
  return {
    name,
    port: actual,
    address: `127.0.0.1:${actual}`,
    sockets,
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'k3s-agent-lb-'));
});
after(() => rm(dir, { recursive: true, force: true }));

let files = 0;
async function balancer(server: Echo, more: Partial<LoadBalancerOptions> = {}) {
  const stateFile = more.stateFile ?? join(dir, `lb-${files++}.json`);
  const serverUrl = `https://${server.address}`;
  const lb = new LoadBalancer({
    name: 'test',
    serverUrl,
    listenPort: 0,
    log: silentLogger,
    env: {},
    ...more,
    stateFile,
  });
  await lb.start(new AbortController().signal);
  return { lb, stateFile };
}

/** Opens TLS through the load balancer; the server's certificate is verified as if it were dialled itself. */
async function open(lb: LoadBalancer): Promise<{ name: string; socket: Socket; closed: Promise<unknown> }> {
  const { hostname, port } = new URL(lb.localUrl);
  const socket = tlsConnect({ host: hostname, port: Number(port), ca: pki.serverCa });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  const name = await new Promise<string>((resolve, reject) => {
    socket.once('data', (d) => resolve(String(d).trim()));
    socket.once('close', () => reject(new Error('closed')));
  });
  return { name, socket, closed };
}

const stateOf = (lb: LoadBalancer, server: Echo) => lb.status().find((s) => s.address === server.address)?.state;
async function until(fits: () => boolean, what: string, limitMs = 3_000): Promise<void> {
  for (const end = Date.now() + limitMs; !fits(); ) {
    if (Date.now() > end) assert.fail(`not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('500 connections at once pass whole, and only sockets hold their bytes', async () => {
  const a = await echo('a');
  const { lb } = await balancer(a);
  const sizes = await Promise.all(
    Array.from({ length: 500 }, async (_, i) => {
      const { socket } = await open(lb);
      const size = 1_000 + i * 100;
      socket.write(Buffer.alloc(size, 1));
      let got = 0;
      while (got < size) got += ((await once(socket, 'data'))[0] as Buffer).length;
      socket.end();
      return got === size;
    }),
  );
  assert.ok(sizes.every(Boolean));
  await until(() => lb.status()[0]?.connections === 0, 'all are counted out');
  await lb.stop();
  await a.stop();
});

test('a failed tunnel moves every connection at once; the server comes back into use', async () => {
  const [a, b] = [await echo('a'), await echo('b')];
  const { lb } = await balancer(a);
  lb.setServers([a.address, b.address]);
  lb.setHealth(a.address, true);
  await until(() => stateOf(lb, a) === 'PREFERRED', 'a is preferred');
  const first = await open(lb);
  assert.equal(first.name, 'a');
  assert.equal(stateOf(lb, a), 'ACTIVE');
  lb.setHealth(b.address, true);
  const failed = performance.now();
  lb.setHealth(a.address, false, 'nothing heard');
  await first.closed;
  assert.equal((await open(lb)).name, 'b');
  assert.ok(performance.now() - failed < 500, 'fail-over within half a second');
  assert.equal(lb.status().find((s) => s.address === a.address)?.lastError, 'nothing heard');
  lb.setHealth(a.address, true);
  await until(() => stateOf(lb, a) === 'PREFERRED', 'a is back');
  lb.setHealth(b.address, false, 'gone');
  assert.equal((await open(lb)).name, 'a');
  await lb.stop();
  await Promise.all([a.stop(), b.stop()]);
});

test('a refused server is passed over within the same connection', async () => {
  const [a, b] = [await echo('a'), await echo('b')];
  const { lb } = await balancer(a);
  lb.setServers([a.address, b.address]);
  await a.stop();
  const { name, socket } = await open(lb);
  assert.equal(name, 'b');
  socket.destroy();
  const again = await echo('a', a.port);
  await b.stop();
  assert.equal((await open(lb)).name, 'a');
  await lb.stop();
  await again.stop();
});

test('a silent server delays a connection by 3 s, not by the whole dial limit', async () => {
  const b = await echo('b');
  const silent = '192.0.2.1:6443';
  const { createDial } = await import('../../src/loadbalancer/index.ts');
  const direct = createDial(undefined);
  const { lb } = await balancer(b, {
    serverUrl: `https://${silent}`,
    dial: (address, signal) =>
      address === silent
        ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
        : direct(address, signal),
  });
  lb.setServers([silent, b.address]);
  const begun = performance.now();
  assert.equal((await open(lb)).name, 'b');
  assert.ok(performance.now() - begun < 5_000);
  await lb.stop();
  await b.stop();
});

test('the state file is k3s’ own, survives a restart, and is rebuilt when broken or of another server', async () => {
  const [a, b] = [await echo('a'), await echo('b')];
  const { lb, stateFile } = await balancer(a);
  const url = `https://${a.address}`;
  assert.deepEqual(JSON.parse(await readFile(stateFile, 'utf8')), { ServerURL: url, ServerAddresses: [] });
  lb.setServers([b.address]);
  await lb.stop();
  const text = await readFile(stateFile, 'utf8');
  assert.equal(text, `{\n  "ServerURL": "${url}",\n  "ServerAddresses": [\n    "${b.address}"\n  ]\n}`);

  const restarted = (await balancer(a, { stateFile })).lb;
  assert.equal((await open(restarted)).name, 'b', 'the list is known before any server answered');
  await b.stop();
  assert.equal((await open(restarted)).name, 'a', 'the original server is never forgotten');
  await restarted.stop();

  for (const broken of [
    '',
    '{"ServerURL":',
    '[]',
    'null',
    '{"ServerURL":"https://other:1","ServerAddresses":["192.0.2.9:1"]}',
  ]) {
    await writeFile(stateFile, broken);
    const { lb: rebuilt } = await balancer(a, { stateFile });
    assert.deepEqual(
      rebuilt.status().map((s) => [s.address, s.state]),
      [[a.address, 'STANDBY']],
    );
    assert.equal(JSON.parse(await readFile(stateFile, 'utf8')).ServerURL, url);
    await rebuilt.stop();
  }
  await a.stop();
});

test('a port in use says what to do', async () => {
  const a = await echo('a');
  const first = (await balancer(a)).lb;
  const port = Number(new URL(first.localUrl).port);
  await assert.rejects(balancer(a, { listenPort: port }), (error: { code?: string; remedy?: string }) => {
    assert.equal(error.code, 'LB_PORT_BUSY');
    assert.match(error.remedy ?? '', /another k3s agent/);
    return true;
  });
  await first.stop();
  await a.stop();
});

test('a server’s last words reach a client that reads slowly', async () => {
  const size = 2_000_000;
  const plain = createTcpServer({ allowHalfOpen: true }, (socket) => socket.end(Buffer.alloc(size)));
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  const address = `127.0.0.1:${(plain.address() as { port: number }).port}`;
  const { lb } = await balancer({ address } as Echo);
  const client = connect({ port: Number(new URL(lb.localUrl).port), host: '127.0.0.1', allowHalfOpen: true });
  client.pause();
  await new Promise((resolve) => setTimeout(resolve, 100));
  let got = 0;
  for await (const chunk of client) got += (chunk as Buffer).length;
  assert.equal(got, size);
  client.destroy();
  await lb.stop();
  plain.close();
});

/** A proxy that records what it was asked; `speak` is its protocol. */
async function proxy(
  speak: (client: Socket, asked: string[]) => void,
): Promise<{ port: number; asked: string[]; server: Server }> {
  const asked: string[] = [];
  const server = createTcpServer((client) => {
    client.on('error', () => {});
    speak(client, asked);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as { port: number }).port, asked, server };
}

function splice(client: Socket, host: string, port: number, hello: string | Buffer): void {
  const upstream = connect({ host, port }, () => {
    client.write(hello);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  upstream.on('error', () => client.destroy());
}

test('servers are dialled through an HTTP proxy with CONNECT, where that is allowed', async () => {
  const a = await echo('a');
  const p = await proxy((client, asked) => {
    client.once('data', (head) => {
      asked.push(String(head));
      splice(client, '127.0.0.1', a.port, 'HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n');
    });
  });
  // The name only exists for the proxy: NO_PROXY never matters for loopback addresses.
  const { lb } = await balancer(a, {
    serverUrl: 'https://k3s.invalid:6443',
    env: { K3S_AGENT_HTTP_PROXY_ALLOWED: 'true', HTTPS_PROXY: `http://me:secret123@127.0.0.1:${p.port}` },
  });
  assert.equal((await open(lb)).name, 'a');
  assert.match(p.asked[0] ?? '', /^CONNECT k3s\.invalid:6443 HTTP\/1\.1\r\n/);
  assert.match(
    p.asked[0] ?? '',
    new RegExp(`Proxy-Authorization: Basic ${Buffer.from('me:secret123').toString('base64')}`),
  );
  await lb.stop();
  p.server.close();
  await a.stop();
});

test('and through a SOCKS5 proxy, which resolves the name', async () => {
  const a = await echo('a');
  const p = await proxy((client, asked) => {
    client.once('data', () => {
      client.write(Buffer.from([5, 0]));
      client.once('data', (request: Buffer) => {
        asked.push(request.subarray(5, 5 + (request[4] as number)).toString());
        splice(client, '127.0.0.1', a.port, Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
      });
    });
  });
  const { lb } = await balancer(a, {
    serverUrl: 'https://k3s.invalid:6443',
    env: { K3S_AGENT_HTTP_PROXY_ALLOWED: 'true', https_proxy: `socks5://127.0.0.1:${p.port}` },
  });
  assert.equal((await open(lb)).name, 'a');
  assert.deepEqual(p.asked, ['k3s.invalid']);
  await lb.stop();
  p.server.close();
  await a.stop();
});

test('a proxy that refuses is named in the server’s last error, without its password', async () => {
  const a = await echo('a');
  const p = await proxy((client) =>
    client.once('data', () => client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')),
  );
  const { lb } = await balancer(a, {
    serverUrl: 'https://k3s.invalid:6443',
    env: { K3S_AGENT_HTTP_PROXY_ALLOWED: 'true', HTTPS_PROXY: `http://me:secret123@127.0.0.1:${p.port}` },
  });
  await assert.rejects(open(lb));
  const error = lb.status()[0]?.lastError ?? '';
  assert.match(error, /the proxy 127\.0\.0\.1:\d+: it answered "HTTP\/1\.1 407/);
  assert.ok(!error.includes('secret123'));
  await lb.stop();
  p.server.close();
  await a.stop();
});
