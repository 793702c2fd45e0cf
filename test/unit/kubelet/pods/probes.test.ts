import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, it } from 'node:test';
import { AgentError } from '../../../../src/core/index.ts';
import { execVerdict, probeCommand } from '../../../../src/kubelet/pods/probes/exec.ts';
import { grpcVerdict } from '../../../../src/kubelet/pods/probes/grpc.ts';
import { httpVerdict } from '../../../../src/kubelet/pods/probes/http.ts';
import { resolvePort } from '../../../../src/kubelet/pods/probes/spec.ts';
import { tcpVerdict } from '../../../../src/kubelet/pods/probes/tcp.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const signal = new AbortController().signal;
const exec = (over: object = {}) => ({ exec: { command: ['check'] }, periodSeconds: 5, ...over });
const probed = (name: string, probes: object) =>
  makePod(name, { containers: [{ name: 'main', image: 'busybox:1', ...probes }] });

describe('probes', () => {
  it('readiness decides about Ready, both ways, by its thresholds', async () => {
    const node = new FakeNode();
    node.runtime.execExit = 1;
    await node.start();
    node.api.put(probed('r', { readinessProbe: exec({ failureThreshold: 2 }) }));
    await node.clock.advance(6_000);
    const ready = () => node.api.get('r')?.status?.conditions?.find((c) => c.type === 'Ready')?.status;
    assert.equal(ready(), 'False');
    assert.ok(node.recorder.events.some((e) => e.message === 'Readiness probe failed: '));
    node.runtime.execExit = 0;
    await node.clock.advance(5_000);
    assert.equal(ready(), 'True');
    node.runtime.execExit = 1;
    await node.clock.advance(5_000);
    assert.equal(ready(), 'True');
    await node.clock.advance(5_000);
    assert.equal(ready(), 'False');
    assert.deepEqual(node.runtime.running(), ['main']);
  });

  it('liveness restarts the container with the event of the original', async () => {
    const node = new FakeNode();
    node.runtime.execExit = 1;
    await node.start();
    node.api.put(probed('l', { livenessProbe: exec({ failureThreshold: 2 }) }));
    await node.clock.advance(6_000);
    assert.equal(node.runtime.count('startContainer'), 2);
    assert.ok(
      node.recorder.events.some((e) => e.message === 'Container main failed liveness probe, will be restarted'),
    );
    node.runtime.execExit = 0;
    await node.clock.advance(300_000);
    assert.equal(node.runtime.count('startContainer'), 2);
  });

  it('startup holds the others back until it succeeded', async () => {
    const node = new FakeNode();
    node.runtime.execExit = 1;
    await node.start();
    node.api.put(
      probed('s', {
        startupProbe: exec({ failureThreshold: 30 }),
        livenessProbe: exec({ failureThreshold: 1 }),
        readinessProbe: exec(),
      }),
    );
    await node.clock.advance(60_000);
    assert.equal(node.runtime.count('startContainer'), 1);
    assert.equal(node.api.get('s')?.status?.containerStatuses?.[0]?.started, false);
    node.runtime.execExit = 0;
    await node.clock.advance(5_500);
    const status = node.api.get('s')?.status?.containerStatuses?.[0];
    assert.deepEqual([status?.started, status?.ready], [true, true]);
  });

  it('one timer serves all, none is left when the pods are gone', async () => {
    const node = new FakeNode();
    await node.start();
    for (let i = 0; i < 20; i++) node.api.put(probed(`p${i}`, { readinessProbe: exec() }));
    await node.clock.advance(60_000);
    assert.equal(node.clock.timers, 1);
    for (let i = 0; i < 20; i++) node.api.markDeleted(`p${i}`, 1);
    await node.clock.advance(10_000);
    assert.equal(node.clock.timers, 0);
  });

  it('a preStop hook runs before SIGTERM and within the grace; a failed postStart restarts', async () => {
    const node = new FakeNode();
    await node.start();
    node.api.put(probed('h', { lifecycle: { preStop: { sleep: { seconds: 3 } } } }));
    await settle();
    node.api.markDeleted('h', 10);
    await node.clock.advance(2_500);
    assert.deepEqual(node.runtime.running(), ['main']);
    await node.clock.advance(1_000);
    assert.deepEqual(node.runtime.running(), []);
    node.runtime.execExit = 1;
    node.api.put(probed('f', { lifecycle: { postStart: { exec: { command: ['no'] } } } }));
    await node.clock.advance(1_000);
    assert.ok(node.recorder.reasons('f').includes('FailedPostStartHook'));
    assert.ok(node.runtime.count('stopContainer') >= 2);
  });
});

describe('asking a program', () => {
  const run = (answer: () => Promise<{ stdout: Buffer; stderr: Buffer; exitCode: number }>) => ({
    execSync: answer,
  });
  const ask = (answer: Parameters<typeof run>[0]) =>
    execVerdict(run(answer) as never, { id: 'x', command: ['/bin/ask', 'a b'], timeoutMs: 1_000, signal });

  it('what it prints on both streams is the text, up to 10 KiB', async () => {
    const verdict = await ask(async () => ({
      stdout: Buffer.from('out '),
      stderr: Buffer.alloc(20_000, 'e'),
      exitCode: 3,
    }));
    assert.deepEqual([verdict.result, verdict.output.length, verdict.output.slice(0, 5)], ['failure', 10_240, 'out e']);
  });

  it('one that takes too long fails, one that can not be started says nothing', async () => {
    const fail = (code: string, message: string) => () => Promise.reject(new AgentError({ code, message }));
    assert.deepEqual(await ask(fail('CRI_DEADLINE_EXCEEDED', 'timeout 1s exceeded: context deadline exceeded')), {
      result: 'failure',
      output: 'command timed out: "/bin/ask a b" timed out after 1s',
    });
    assert.deepEqual(await ask(fail('CRI_UNKNOWN', 'failed to exec in container: no timeout here')), {
      result: 'error',
      output: 'rpc error: code = Unknown desc = failed to exec in container: no timeout here',
    });
  });

  it('a command knows the values that stand in the spec', () => {
    const env = [
      { name: 'A', value: '1' },
      { name: 'REF', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ];
    const container = { kind: 'app' as const, spec: { name: 'c', env } };
    assert.deepEqual(probeCommand(['x', '$(A)$(REF)', '$(NONE)', '$$(A)'], container), ['x', '1', '$(NONE)', '$(A)']);
  });

  it('a port that is none has the text of the original', () => {
    const container = { kind: 'app' as const, spec: { name: 'c', ports: [{ name: 'web', containerPort: 80 }] } };
    assert.equal(resolvePort('web', container), 80);
    assert.equal(resolvePort('81', container), 81);
    assert.throws(() => resolvePort('http', container), { message: 'strconv.Atoi: parsing "http": invalid syntax' });
    assert.throws(() => resolvePort(0, container), { message: 'invalid port number: 0' });
  });
});

describe('asking over the network', () => {
  it('http: codes, redirects, refusal, silence', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/slow') return;
      if (request.url === '/to') response.writeHead(302, { location: '/ok' }).end();
      else response.writeHead(request.url === '/bad' ? 503 : 200).end(request.headers['x-test']);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const ask = (path: string, at = port) =>
      httpVerdict({ get: { path }, host: '127.0.0.1', port: at, timeoutMs: 300, signal });
    assert.equal((await ask('/ok')).result, 'success');
    assert.equal((await ask('/to')).result, 'success');
    assert.equal((await ask('/bad')).output, 'HTTP probe failed with statuscode: 503');
    assert.match(
      (await ask('/slow')).output,
      /context deadline exceeded \(Client.Timeout exceeded while awaiting headers\)$/,
    );
    server.closeAllConnections();
    server.close();
    assert.equal(
      (await ask('/ok', 1)).output,
      'Get "http://127.0.0.1:1/ok": dial tcp 127.0.0.1:1: connect: connection refused',
    );
  });

  it('http: what upstream sends, and how it counts redirects and odd answers', async () => {
    const seen: { url: string; headers: Record<string, unknown> }[] = [];
    const server = createServer((request, response) => {
      seen.push({ url: request.url ?? '', headers: { ...request.headersDistinct } });
      if (request.url === '/away') response.writeHead(302, { location: 'http://0.0.0.0/' }).end('moved there');
      else if (request.url === '/loop') response.writeHead(302, { location: '/loop' }).end();
      else if (request.url === '/cut') request.socket.destroy();
      else if (request.url === '/endless') response.write('x');
      else response.writeHead(request.url === '/nowhere' ? 304 : 200).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const ask = (path: string, more: object = {}) =>
      httpVerdict({ get: { path, ...more }, host: '127.0.0.1', port, timeoutMs: 300, signal });
    assert.deepEqual(await ask('/away'), {
      result: 'success',
      output: '',
      warning: 'Probe terminated redirects, Response body: moved there',
    });
    assert.equal((await ask('/nowhere')).warning, 'Probe terminated redirects, Response body: ');
    const loop = await ask('/loop');
    assert.match(loop.output, /^Get "http:\/\/127.0.0.1:\d+\/loop": stopped after 10 redirects$/);
    assert.equal(seen.filter(({ url }) => url === '/loop').length, 10);
    assert.match((await ask('/cut')).output, /^Get "http:\/\/127.0.0.1:\d+\/cut": EOF$/);
    assert.deepEqual(await ask('/endless'), {
      result: 'error',
      output: 'context deadline exceeded (Client.Timeout or context cancellation while reading body)',
      state: 'failure',
    });
    const tls = await ask('/', { scheme: 'HTTPS' });
    assert.match(tls.output, /^Get "https:.*": http: server gave HTTP response to HTTPS client$/);
    await ask('/h', {
      httpHeaders: [
        { name: 'x-a', value: '1' },
        { name: 'X-A', value: '2' },
        { name: 'host', value: 'me' },
      ],
    });
    assert.deepEqual(seen.at(-1)?.headers, {
      'x-a': ['1', '2'],
      host: ['me'],
      'user-agent': ['kube-probe/1.36'],
      accept: ['*/*'],
      connection: ['close'],
    });
    await ask('/h', {
      httpHeaders: [
        { name: 'Accept', value: '' },
        { name: 'User-Agent', value: 'mine' },
      ],
    });
    assert.equal(seen.at(-1)?.headers.accept, undefined);
    assert.deepEqual(seen.at(-1)?.headers['user-agent'], ['mine']);
    server.closeAllConnections();
    server.close();
  });

  it('tcp', async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    assert.equal((await tcpVerdict('127.0.0.1', port, 500, signal)).result, 'success');
    server.close();
    assert.equal(
      (await tcpVerdict('127.0.0.1', 1, 500, signal)).output,
      'dial tcp 127.0.0.1:1: connect: connection refused',
    );
  });

  it('grpc', async () => {
    let answer = 1;
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, answer]));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    assert.equal((await grpcVerdict(address, 'x', 1_000, signal)).result, 'success');
    answer = 2;
    assert.equal(
      (await grpcVerdict(address, '', 1_000, signal)).output,
      'service unhealthy (responded with "NOT_SERVING")',
    );
    server.close();
    assert.deepEqual(await grpcVerdict('127.0.0.1:1', '', 1_000, signal), {
      result: 'failure',
      output: 'timeout: failed to connect service "127.0.0.1:1" within 1s: context deadline exceeded',
    });
  });

  it('grpc: a server that is late, one without the service, one that knows not this one, one that never answers', async () => {
    let status: [string, string] | undefined = ['12', 'unknown service grpc.health.v1.Health'];
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      if (status === undefined) return;
      const [code, message] = status;
      stream.respond({ ':status': 200, 'grpc-status': code, 'grpc-message': message }, { endStream: true });
    });
    const reserved = createTcpServer();
    await new Promise<void>((resolve) => reserved.listen(0, '127.0.0.1', resolve));
    const { port } = reserved.address() as AddressInfo;
    await new Promise((resolve) => reserved.close(resolve));
    const late = grpcVerdict(`127.0.0.1:${port}`, '', 5_000, signal);
    setTimeout(() => server.listen(port, '127.0.0.1'), 100);
    assert.equal(
      (await late).output,
      'error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health',
    );
    status = ['5', 'unknown%20service'];
    assert.equal(
      (await grpcVerdict(`127.0.0.1:${port}`, 'x', 1_000, signal)).output,
      'error: health rpc probe failed: rpc error: code = NotFound desc = unknown service',
    );
    status = undefined;
    assert.equal(
      (await grpcVerdict(`127.0.0.1:${port}`, '', 1_000, signal)).output,
      'timeout: health rpc did not complete within 1s',
    );
    server.close();
  });
});
