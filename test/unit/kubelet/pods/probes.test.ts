import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { describe, it } from 'node:test';
import { grpcVerdict } from '../../../../src/kubelet/pods/probes/grpc.ts';
import { httpVerdict } from '../../../../src/kubelet/pods/probes/http.ts';
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
    assert.equal((await grpcVerdict('127.0.0.1:1', '', 1_000, signal)).result, 'failure');
  });
});
