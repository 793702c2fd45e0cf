import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientRequest, createServer, type Server } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { AgentError, silentLogger } from '../../../../src/core/index.ts';
import type { RuntimeEvent } from '../../../../src/cri/types.ts';
import { KubeError, type Pod } from '../../../../src/kube/index.ts';
import { KubeletServer, type KubeletServerOptions } from '../../../../src/kubelet/server/index.ts';
import * as intermediate from '../../../fixtures/kubelet-server/intermediate.ts';
import { createCa, issue, type KeyPair, keyPem, newKey } from '../../../standin/pki/certificates.ts';

const clientCa = createCa('client-ca');
const otherCa = createCa('other-ca');
const serverCa = createCa('server-ca');

interface Credentials {
  cert: string;
  key: string;
}

function client(
  ca: KeyPair,
  commonName: string,
  organizations: string[],
  usage: 'client' | 'server' = 'client',
): Credentials {
  const key = newKey();
  const cert = issue(ca, { subject: { commonName, organizations }, publicKey: createPublicKey(key), usage });
  return { cert, key: keyPem(key) };
}

function servingPair(): Credentials {
  const key = newKey();
  const cert = issue(serverCa, {
    subject: { commonName: 'n1' },
    publicKey: createPublicKey(key),
    usage: 'server',
    names: ['localhost', '127.0.0.1'],
  });
  return { cert, key: keyPem(key) };
}

const apiserver = client(clientCa, 'system:apiserver', ['system:masters', 'second']);
const nobody = client(clientCa, 'nobody', []);

const pod: Pod = {
  metadata: { name: 'p', namespace: 'ns', uid: 'uid-1' },
  spec: { containers: [{ name: 'c' }, { name: 'tty', tty: true }, { name: 'waiting' }] },
  status: {
    containerStatuses: [
      {
        name: 'c',
        image: '',
        imageID: '',
        ready: true,
        restartCount: 1,
        containerID: 'containerd://c1',
        state: { running: {} },
        lastState: { terminated: { exitCode: 1, containerID: 'containerd://c0' } },
      },
      {
        name: 'tty',
        image: '',
        imageID: '',
        ready: true,
        restartCount: 0,
        containerID: 'containerd://t1',
        state: { running: {} },
      },
      {
        name: 'waiting',
        image: '',
        imageID: '',
        ready: false,
        restartCount: 0,
        state: { waiting: { reason: 'ContainerCreating' } },
      },
    ],
  },
} as Pod;

let dir = '';
let streaming: Server;
/** What the streaming server got and does with an upgraded connection. */
let onStream: (socket: Socket, head: Buffer, rawHeaders: string[]) => void = (socket) => socket.end();
let runtimeDown = false;
let containerState: 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' = 'CONTAINER_RUNNING';
const calls: unknown[] = [];
const reviews: { path: string; spec: Record<string, unknown> }[] = [];
const subscribers = new Set<(event: RuntimeEvent) => void>();
let serving = servingPair();
let server: KubeletServer;

function options(): KubeletServerOptions {
  const url = (call: unknown) => {
    calls.push(call);
    if (runtimeDown) throw new AgentError({ code: 'CRI_UNAVAILABLE', message: 'connection refused' });
    return Promise.resolve(`http://127.0.0.1:${(streaming.address() as AddressInfo).port}/exec/token`);
  };
  return {
    bindAddress: '127.0.0.1',
    port: 0,
    nodeName: 'n1',
    serving: () => serving,
    clientCa: () => clientCa.cert,
    kube: {
      async create<T>(path: string, body: unknown): Promise<T> {
        const { spec } = body as { spec: Record<string, unknown> };
        reviews.push({ path, spec });
        if (path.endsWith('tokenreviews'))
          return {
            status: { authenticated: spec.token === 'good-token', user: { username: 'prometheus', groups: ['m'] } },
          } as T;
        return { status: { allowed: spec.user !== 'nobody' } } as T;
      },
    },
    pods: () => [pod],
    runtime: {
      exec: async (r) => url(['exec', r]),
      attach: async (r) => url(['attach', r]),
      portForward: async (r) => url(['portForward', r]),
      execSync: async (id, cmd) => ({
        stdout: Buffer.from(`${id}:${cmd.join(',')}`),
        stderr: Buffer.from('!'),
        exitCode: cmd[0] === 'false' ? 3 : 0,
      }),
      containerStatus: async (id) => ({ id, state: containerState, logPath: join(dir, `${id}.log`) }) as never,
      listContainers: async (filter) => {
        const name = filter?.labels?.['io.kubernetes.container.name'];
        const known = { c: 'c1', tty: 't1' }[name ?? ''];
        return known ? [{ id: known, podSandboxId: 's1', state: 'CONTAINER_RUNNING', createdAt: 1 } as never] : [];
      },
      listPodSandboxes: async () => [{ id: 's1', state: 'SANDBOX_READY', createdAt: 1 } as never],
      listContainerStats: async () => [],
    },
    events: {
      subscribe(handler) {
        subscribers.add(handler);
        handler({ type: 'resync' });
        return () => subscribers.delete(handler);
      },
    },
    checks: [{ name: 'syncloop', check: () => {} }],
    log: silentLogger,
  };
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kat-server-'));
  await writeFile(join(dir, 'c1.log'), '2026-01-02T03:04:05Z stdout F hello\n');
  await writeFile(join(dir, 'c0.log'), '2026-01-02T03:04:05Z stdout F before\n');
  streaming = createServer();
  streaming.on('upgrade', (req, socket: Socket, head: Buffer) => {
    socket.on('error', () => {});
    onStream(socket, head, req.rawHeaders);
  });
  streaming.listen(0, '127.0.0.1');
  await once(streaming, 'listening');
  server = new KubeletServer(options());
  await server.start(new AbortController().signal);
});

after(async () => {
  await server.stop();
  await server.stop();
  streaming.closeAllConnections();
  streaming.close();
  await rm(dir, { recursive: true, force: true });
});

function open(path: string, how: RequestOptions = {}): ClientRequest {
  const { port } = server.address as { port: number };
  return request({ host: '127.0.0.1', port, path, ca: serverCa.cert, agent: false, ...how });
}

async function ask(path: string, how: RequestOptions = {}): Promise<{ status: number; text: string; type: string }> {
  const req = open(path, how);
  req.end();
  const [response] = await once(req, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, text, type: response.headers['content-type'] ?? '' };
}

interface Upgraded {
  socket: Socket;
  head: Buffer;
  protocol: string | undefined;
}

async function upgrade(path: string, how: RequestOptions = {}): Promise<Upgraded> {
  const req = open(path, {
    method: 'POST',
    ...apiserver,
    ...how,
    headers: {
      Connection: 'Upgrade',
      Upgrade: 'SPDY/3.1',
      'X-Stream-Protocol-Version': ['v4.channel.k8s.io', 'v3.channel.k8s.io'],
      ...(how.headers as Record<string, string>),
    },
  });
  req.end();
  const result = await Promise.race([once(req, 'upgrade'), once(req, 'response')]);
  const [response, socket, head] = result as [
    { headers: Record<string, string>; statusCode: number } & AsyncIterable<Buffer>,
    Socket,
    Buffer,
  ];
  if (socket === undefined) {
    let text = '';
    for await (const chunk of response) text += chunk;
    throw Object.assign(new Error(text), { status: response.statusCode });
  }
  return { socket, head, protocol: response.headers['x-stream-protocol-version'] };
}

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n';

test('nobody gets in without an identity', async () => {
  for (const path of ['/pods', '/healthz', '/nothing', '/exec/ns/p/c?output=1']) {
    const { status, text } = await ask(path);
    assert.equal(status, 401, path);
    assert.equal(text, 'Unauthorized');
  }
});

test('a certificate of another CA, or made for servers, is no identity', async () => {
  assert.equal((await ask('/pods', client(otherCa, 'system:apiserver', ['system:masters']))).status, 401);
  assert.equal((await ask('/pods', client(clientCa, 'system:apiserver', ['system:masters'], 'server'))).status, 401);
  assert.equal((await ask('/pods', client(clientCa, '', ['system:masters']))).status, 401);
});

test('an intermediate CA vouches for its clients without its root', async () => {
  const alone = new KubeletServer({ ...options(), clientCa: () => clientCa.cert + intermediate.intermediateCa });
  await alone.start(new AbortController().signal);
  const { port } = alone.address as { port: number };
  reviews.length = 0;
  assert.equal((await ask('/pods', { ...intermediate, port })).status, 200);
  assert.equal(reviews[0]?.spec.user, 'from-intermediate');
  assert.equal((await ask('/pods', { ...apiserver, port })).status, 200);
  assert.equal((await ask('/pods', { ...client(otherCa, 'x', ['system:masters']), port })).status, 401);
  assert.equal((await ask('/pods', intermediate)).status, 401, 'unknown to a server without that CA');
  await alone.stop();
});

test('a client certificate is user and groups, a token is what the API server says', async () => {
  reviews.length = 0;
  const answer = await ask('/pods', apiserver);
  assert.equal(answer.status, 200);
  assert.equal(answer.type, 'application/json');
  assert.equal(JSON.parse(answer.text).items[0].metadata.uid, 'uid-1');
  assert.equal(reviews[0]?.spec.user, 'system:apiserver');
  assert.deepEqual(reviews[0]?.spec.groups, ['system:masters', 'second', 'system:authenticated']);
  const token = (value: string) => ({ headers: { authorization: `Bearer ${value}` } });
  assert.equal((await ask('/healthz', token('good-token'))).text, 'ok');
  assert.equal((await ask('/healthz', token('bad-token'))).status, 401);
});

test('who may not is told what was missing', async () => {
  const { status, text } = await ask('/pods', nobody);
  assert.equal(status, 403);
  assert.equal(text, 'Forbidden (user=nobody, verb=get, resource=nodes, subresource(s)=[pods proxy])\n');
  await assert.rejects(upgrade('/exec/ns/p/c?output=1', nobody), { status: 403 });
});

test('an expired certificate ends also on an open connection', async () => {
  const now = Date.now;
  let late = 0;
  const clocked = new KubeletServer({
    ...options(),
    clock: { now: () => now() + late, monotonic: () => 0, sleep: () => Promise.resolve(), after: () => () => {} },
  });
  await clocked.start(new AbortController().signal);
  const { port } = clocked.address as { port: number };
  assert.equal((await ask('/pods', { ...apiserver, port })).status, 200);
  late = 400 * 86_400_000;
  assert.equal((await ask('/pods', { ...apiserver, port })).status, 401);
  await clocked.stop();
});

test('health pages', async () => {
  assert.equal(
    (await ask('/healthz?verbose', apiserver)).text,
    '[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n',
  );
  assert.equal((await ask('/healthz/syncloop', apiserver)).text, 'ok');
  assert.equal((await ask('/healthz/none', apiserver)).status, 404);
});

test('logs, the previous container, and the texts for containers without any', async () => {
  assert.equal((await ask('/containerLogs/ns/p/c', apiserver)).text, 'hello\n');
  assert.equal((await ask('/containerLogs/ns/p/c?previous=true', apiserver)).text, 'before\n');
  const waiting = await ask('/containerLogs/ns/p/waiting', apiserver);
  assert.deepEqual(
    [waiting.status, waiting.text],
    [400, 'container "waiting" in pod "p" is waiting to start: ContainerCreating'],
  );
  const previous = await ask('/containerLogs/ns/p/tty?previous=true', apiserver);
  assert.deepEqual([previous.status, previous.text], [400, 'previous terminated container "tty" in pod "p" not found']);
  assert.equal((await ask('/containerLogs/ns/gone/c', apiserver)).status, 404);
  assert.equal((await ask('/containerLogs/ns/p/gone', apiserver)).text, 'container "gone" not found in pod "p"');
  assert.equal((await ask('/containerLogs/ns/p/c?tailLines=x', apiserver)).status, 400);
});

test('a followed log ends when the runtime says that the container ended', async () => {
  const req = open('/containerLogs/ns/p/c?follow=true', apiserver);
  req.end();
  const [response] = await once(req, 'response');
  const [chunk] = await once(response, 'data');
  assert.equal(String(chunk), 'hello\n');
  containerState = 'CONTAINER_EXITED';
  for (const tell of subscribers) tell({ type: 'container', kind: 'exited', containerId: 'c1' });
  response.resume();
  await once(response, 'end');
  containerState = 'CONTAINER_RUNNING';
  assert.equal(subscribers.size, 0);
});

test('a follower that leaves is forgotten', async () => {
  const req = open('/containerLogs/ns/p/c?follow=true', apiserver);
  req.end();
  const [response] = await once(req, 'response');
  await once(response, 'data');
  assert.equal(subscribers.size, 1);
  req.destroy();
  while (subscribers.size > 0) await new Promise((resolve) => setImmediate(resolve));
});

test('run answers what the command printed', async () => {
  const ran = await ask('/run/ns/p/uid-1/c?cmd=echo%20hi', { ...apiserver, method: 'POST' });
  assert.deepEqual([ran.status, ran.text], [200, 'c1:echo,hi!']);
  const failed = await ask('/run/ns/p/c?cmd=false', { ...apiserver, method: 'POST' });
  assert.deepEqual([failed.status, failed.text], [500, "command 'false' exited with 3: !"]);
  assert.equal((await ask('/run/ns/p/other-uid/c?cmd=x', { ...apiserver, method: 'POST' })).status, 404);
});

test('exec passes the request on and copies both ways, early bytes of both sides included', async () => {
  calls.length = 0;
  let headers: string[] = [];
  onStream = (socket, head, rawHeaders) => {
    headers = rawHeaders;
    socket.write(`${SWITCH}early`);
    socket.on('data', (data) => socket.write(`<${data}>`));
    if (head.length > 0) socket.write(`<${head}>`);
  };
  const { socket, head, protocol } = await upgrade('/exec/ns/p/c?command=sh&command=-c&input=1&output=1&error=1', {
    headers: { authorization: 'Bearer secret' },
  });
  assert.equal(protocol, 'v4.channel.k8s.io');
  let text = String(head);
  socket.on('data', (data) => {
    text += data;
  });
  socket.write('one');
  while (!text.endsWith('<one>')) await once(socket, 'data');
  assert.equal(text, 'early<one>');
  assert.deepEqual(calls, [
    ['exec', { containerId: 'c1', cmd: ['sh', '-c'], stdin: true, stdout: true, stderr: true, tty: false }],
  ]);
  assert.equal(headers.filter((h) => h.toLowerCase() === 'x-stream-protocol-version').length, 2);
  assert.equal(headers.includes('Bearer secret'), false);
  socket.destroy();
});

test('all output arrives although the client still sends when the runtime ends', async () => {
  const big = Buffer.alloc(8 * 1024 * 1024, 'x');
  onStream = (socket) => {
    socket.write(SWITCH);
    socket.end(big);
  };
  const { socket, head } = await upgrade('/exec/ns/p/c?command=cat&input=1&output=1');
  socket.on('error', () => {});
  const feed = setInterval(() => socket.write(Buffer.alloc(65_536)), 1);
  let size = head.length;
  for await (const chunk of socket) size += (chunk as Buffer).length;
  clearInterval(feed);
  socket.destroy();
  assert.equal(size, big.length);
});

test('a client that vanishes closes the connection to the container', async () => {
  const backend = new Promise<Socket>((resolve) => {
    onStream = (socket) => {
      socket.write(SWITCH);
      socket.on('end', () => socket.end());
      resolve(socket);
    };
  });
  const { socket } = await upgrade('/exec/ns/p/c?command=cat&input=1&output=1');
  const closed = once((await backend).resume(), 'close');
  socket.destroy();
  await closed;
});

test('attach takes the terminal from the container, port-forward its ports from WebSockets only', async () => {
  calls.length = 0;
  onStream = (socket) => socket.end(SWITCH);
  (await upgrade('/attach/ns/p/tty?output=1&input=1')).socket.destroy();
  (await upgrade('/portForward/ns/p?port=80')).socket.destroy();
  (
    await upgrade('/portForward/ns/p/uid-1?port=80,81', { method: 'GET', headers: { Upgrade: 'websocket' } })
  ).socket.destroy();
  assert.deepEqual(calls, [
    ['attach', { containerId: 't1', stdin: true, stdout: true, stderr: false, tty: true }],
    ['portForward', { podSandboxId: 's1', port: [] }],
    ['portForward', { podSandboxId: 's1', port: [80, 81] }],
  ]);
  await assert.rejects(upgrade('/portForward/ns/p', { headers: { Upgrade: 'websocket' } }), { status: 400 });
});

test('what can not be streamed is said in text', async () => {
  await assert.rejects(upgrade('/exec/ns/p/waiting?output=1'), {
    status: 500,
    message: 'container not found ("waiting")',
  });
  await assert.rejects(upgrade('/exec/ns/gone/c?output=1'), { status: 404, message: 'pod does not exist' });
  await assert.rejects(upgrade('/exec/ns/p/c'), {
    status: 400,
    message: 'you must specify at least 1 of stdin, stdout, stderr',
  });
  assert.deepEqual(await ask('/exec/ns/p/c?output=1', apiserver), {
    status: 500,
    text: 'Upgrade request required\n',
    type: 'text/plain; charset=utf-8',
  });
  runtimeDown = true;
  await assert.rejects(upgrade('/exec/ns/p/c?output=1'), {
    status: 500,
    message: 'rpc error: code = Unavailable desc = connection refused',
  });
  runtimeDown = false;
  onStream = (socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone');
  await assert.rejects(upgrade('/exec/ns/p/c?output=1'), { status: 404, message: 'gone' });
  onStream = (socket) => socket.destroy();
  await assert.rejects(upgrade('/exec/ns/p/c?output=1'), { status: 500 });
});

test('refused and nonsensical connections leave nothing behind', async () => {
  const alone = new KubeletServer(options());
  await alone.start(new AbortController().signal);
  const { port } = alone.address as { port: number };
  const raw = async (text: string) => {
    const socket = connect({ host: '127.0.0.1', port, ca: serverCa.cert, ...apiserver });
    await once(socket, 'secureConnect');
    socket.on('error', () => {});
    socket.write(text);
    let answer = '';
    socket.on('data', (data) => {
      answer += data;
    });
    await once(socket, 'close');
    return answer;
  };
  const upgraded = 'Host: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n';
  assert.match(
    await raw(`POST /exec/ns/gone/c?output=1 HTTP/1.1\r\n${upgraded}\r\nmore than asked for`),
    /^HTTP\/1.1 404 /,
  );
  assert.match(
    await raw(`POST /exec/ns/p/c?output=1 HTTP/1.1\r\n${upgraded}Content-Length: -1\r\n\r\n`),
    /^HTTP\/1.1 400 /,
  );
  assert.match(await raw(`GET /pods HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(300_000)}\r\n\r\n`), /^HTTP\/1.1 431 /);
  assert.match(await raw('\0\x16\x03nonsense\r\n\r\n'), /^HTTP\/1.1 400 /);
  // An upgrade nobody offers is ignored, as HTTP says.
  assert.match(await raw(`GET /healthz HTTP/1.1\r\n${upgraded}\r\n`), /^HTTP\/1.1 200 /);
  await alone.stop();
});

test('a renewed serving certificate is shown from then on', async () => {
  const before = serving;
  const serial = async () => {
    const req = open('/healthz', apiserver);
    req.end();
    const [response] = await once(req, 'response');
    response.resume();
    return response.socket.getPeerCertificate().serialNumber;
  };
  const old = await serial();
  serving = servingPair();
  server.reload();
  assert.notEqual(await serial(), old);
  serving = { cert: 'rubbish', key: 'rubbish' };
  server.reload();
  assert.notEqual(await serial(), old);
  serving = before;
});

test('a taken port is said, and listened on once it is free', async () => {
  const { port } = server.address as { port: number };
  let wake = () => {};
  const second = new KubeletServer({
    ...options(),
    port,
    clock: {
      now: Date.now,
      monotonic: () => 0,
      after: () => () => {},
      sleep: () =>
        new Promise((resolve) => {
          wake = resolve;
        }),
    },
  });
  await second.start(new AbortController().signal);
  assert.equal(second.error?.code, 'KUBELET_LISTEN');
  await server.stop();
  wake();
  while (second.address === undefined) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(second.error, undefined);
  await second.stop();
  server = new KubeletServer(options());
  await server.start(new AbortController().signal);
});

test('an unreachable API server lets its own certificate in and says so to others', async () => {
  const alone = new KubeletServer({
    ...options(),
    kube: {
      create: () => Promise.reject(new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'no answer' })),
    },
  });
  await alone.start(new AbortController().signal);
  const { port } = alone.address as { port: number };
  assert.equal((await ask('/healthz', { ...apiserver, port })).text, 'ok');
  assert.equal((await ask('/healthz', { ...nobody, port })).status, 500);
  await alone.stop();
});

test('without debugging handlers there are no logs and commands, all else stays', async () => {
  const alone = new KubeletServer({ ...options(), debugging: false });
  await alone.start(new AbortController().signal);
  const { port } = alone.address as { port: number };
  for (const path of [
    '/containerLogs/default/a/main',
    '/runningpods/',
    '/run/default/a/main?cmd=id',
    '/exec/default/a/main',
  ]) {
    const method = path.startsWith('/run/') || path.startsWith('/exec') ? 'POST' : 'GET';
    const { status, text } = await ask(path, { ...apiserver, port, method });
    assert.deepEqual([status, text], [405, 'Debug endpoints are disabled.\n'], path);
  }
  assert.equal((await ask('/healthz', { ...apiserver, port })).text, 'ok');
  assert.equal((await ask('/pods', { ...apiserver, port })).status, 200);
  await alone.stop();
});

test('a caller that does not wait for answers does not make the API server work for it', async () => {
  const questions: unknown[] = [];
  const flooded = new KubeletServer({
    ...options(),
    kube: {
      create: (_path: string, body: unknown) => {
        questions.push(body);
        return new Promise<never>(() => {});
      },
    },
  });
  await flooded.start(new AbortController().signal);
  const { port } = flooded.address as { port: number };
  const socket = connect({ host: '127.0.0.1', port, ca: serverCa.cert });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  for (let i = 0; i < 1_000; i++)
    socket.write(`GET /pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-${i}\r\n\r\n`);
  socket.resume();
  await once(socket, 'close');
  assert.ok(questions.length <= 8, `${questions.length} questions`);
  await flooded.stop();
});
