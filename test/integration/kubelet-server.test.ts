import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { silentLogger } from '../../src/core/index.ts';
import type { Cri } from '../../src/cri/index.ts';
import type { Pod } from '../../src/kube/index.ts';
import { KubeletServer } from '../../src/kubelet/server/index.ts';
import { createCa, issue, type KeyPair, keyPem, newKey } from '../standin/pki/certificates.ts';
import { BUSYBOX, createLab, type Lab, sandboxConfig, until, whyNot } from './cri-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);

function pair(ca: KeyPair, usage: 'client' | 'server', commonName: string): { cert: string; key: string } {
  const key = newKey();
  const subject = { commonName, organizations: ['system:masters'] };
  const cert = issue(ca, { subject, publicKey: createPublicKey(key), usage, names: ['127.0.0.1'] });
  return { cert, key: keyPem(key) };
}

describe('the kubelet API before a real containerd', { skip, timeout: 120_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let server: KubeletServer;
  let pod: Pod;
  const serverCa = createCa('server');
  const clientCa = createCa('client');
  const client = pair(clientCa, 'client', 'kube-apiserver');

  before(async () => {
    lab = await createLab(process.env.CONTAINERD_BIN);
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
    await cri.importer.imagesReady;
    const logDirectory = join(lab.dir, 'logs/default_one_uid-one');
    const config = { ...sandboxConfig(lab, 'one'), logDirectory };
    for (const name of ['main', 'ends']) await mkdir(join(logDirectory, name), { recursive: true });
    const podLabels = { 'io.kubernetes.pod.uid': 'uid-one', 'io.kubernetes.pod.name': 'one' };
    const sandbox = await cri.runtime.runPodSandbox({ ...config, labels: podLabels }, '');
    const start = async (name: string, script: string) => {
      const id = await cri.runtime.createContainer(
        sandbox,
        {
          metadata: { name, attempt: 0 },
          image: { image: BUSYBOX },
          command: ['sh', '-c', script],
          labels: { ...podLabels, 'io.kubernetes.container.name': name },
          logPath: `${name}/0.log`,
        },
        config,
      );
      await cri.runtime.startContainer(id);
      return {
        name,
        image: '',
        imageID: '',
        ready: true,
        restartCount: 0,
        containerID: `containerd://${id}`,
        state: { running: {} },
      };
    };
    pod = {
      metadata: { name: 'one', namespace: 'default', uid: 'uid-one' },
      spec: { containers: [{ name: 'main' }, { name: 'ends' }] },
      status: {
        containerStatuses: [
          await start('main', 'sleep 100000'),
          await start('ends', 'i=0; while [ ! -e /tmp/end ]; do echo line $i; i=$((i+1)); sleep 0.05; done; echo last'),
        ],
      },
    };
    const serving = pair(serverCa, 'server', 'n1');
    server = new KubeletServer({
      bindAddress: '127.0.0.1',
      port: 0,
      nodeName: 'n1',
      serving: () => serving,
      clientCa: () => clientCa.cert,
      kube: { create: async <T>() => ({ status: { allowed: true } }) as T },
      pods: () => [pod],
      runtime: cri.runtime,
      events: cri.events,
      podLogsRoot: join(lab.dir, 'logs'),
      log: silentLogger,
    });
    await server.start(new AbortController().signal);
  });
  after(async () => {
    await server?.stop();
    await lab.end();
  });

  const base = () => `127.0.0.1:${server.address?.port}`;

  interface Stream {
    ws: WebSocket;
    /** Text so far, by channel. */
    channels: string[];
    closed: Promise<void>;
    send(channel: number, data: string | Buffer): void;
  }

  async function stream(path: string): Promise<Stream> {
    const ws = new WebSocket(`wss://${base()}${path}`, ['v4.channel.k8s.io'], { ca: serverCa.cert, ...client });
    const channels: string[] = [];
    ws.on('message', (data: Buffer) => {
      const channel = data[0] ?? 0;
      channels[channel] = (channels[channel] ?? '') + data.subarray(1).toString('latin1');
    });
    const closed = once(ws, 'close').then(() => {});
    await once(ws, 'open');
    return {
      ws,
      channels,
      closed,
      send: (channel, data) => ws.send(Buffer.concat([Buffer.from([channel]), Buffer.from(data)])),
    };
  }

  it('runs a command with both outputs and its exit code', async () => {
    const { channels, closed } = await stream(
      `/exec/default/one/main?output=1&error=1&command=sh&command=-c&command=${encodeURIComponent('echo out; echo err >&2; exit 7')}`,
    );
    await closed;
    assert.equal(channels[1], 'out\n');
    assert.equal(channels[2], 'err\n');
    assert.deepEqual(JSON.parse(channels[3] ?? '').details.causes, [{ reason: 'ExitCode', message: '7' }]);
  });

  it('carries a terminal, its input and its size', async () => {
    const { channels, closed, send } = await stream('/exec/default/one/uid-one/main?input=1&output=1&tty=1&command=sh');
    send(4, JSON.stringify({ Width: 123, Height: 45 }));
    send(0, 'until busybox stty size | busybox grep -q "45 123"; do sleep 0.1; done; echo yes; exit 3\n');
    await closed;
    assert.match(channels[1] ?? '', /\nyes\r/);
    assert.match(channels[3] ?? '', /"message":"3"/);
  });

  it('brings large output in full', async () => {
    const { channels, closed } = await stream(
      '/exec/default/one/main?output=1&command=busybox&command=head&command=-c&command=20000000&command=/dev/zero',
    );
    await closed;
    assert.equal(channels[1]?.length, 20_000_000);
  });

  it('ends the command’s stream when the client vanishes', async () => {
    const { ws, channels, closed, send } = await stream('/exec/default/one/main?input=1&output=1&command=cat');
    send(0, 'here\n');
    await until(() => channels[1]?.includes('here'), 10_000);
    ws.terminate();
    await closed;
    // cat ends because its input was closed.
    await until(async () => {
      const { stdout } = await cri.runtime.execSync(
        pod.status?.containerStatuses?.[0]?.containerID?.slice('containerd://'.length) ?? '',
        ['busybox', 'ps'],
        5,
      );
      return !/\bcat\b/.test(stdout.toString());
    }, 10_000);
  });

  it('forwards a port', async () => {
    const echo = createServer((socket) => socket.on('data', (data) => socket.write(`<${data}>`)));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const { port } = echo.address() as { port: number };
    const { ws, channels, closed, send } = await stream(`/portForward/default/one?port=${port}`);
    send(0, 'ping');
    await until(() => channels[0]?.includes('<ping>'), 10_000);
    ws.terminate();
    await closed;
    echo.close();
  });

  const ask = async (path: string, onText: (text: string) => void = () => {}) => {
    const req = get(`https://${base()}${path}`, { ca: serverCa.cert, ...client, agent: false });
    const [response] = await once(req, 'response');
    let text = '';
    for await (const chunk of response) {
      text += chunk;
      onText(text);
    }
    return { status: response.statusCode, text };
  };

  it('shows logs, and follows them to the end of the container', async () => {
    const tail = await ask('/containerLogs/default/one/ends?tailLines=1');
    assert.match(tail.text, /^line \d+\n$/);
    let told = false;
    const { text } = await ask('/containerLogs/default/one/ends?follow=true', (soFar) => {
      if (told || !soFar.includes('line 3\n')) return;
      told = true;
      const id = pod.status?.containerStatuses?.[1]?.containerID?.slice('containerd://'.length) ?? '';
      void cri.runtime.execSync(id, ['busybox', 'touch', '/tmp/end'], 5);
    });
    assert.match(text, /^line 0\nline 1\n[\s\S]*last\n$/);
    const lines = text.trimEnd().split('\n');
    assert.deepEqual(lines, [...lines.slice(0, -1).map((_line, i) => `line ${i}`), 'last']);
  });

  it('names what runs', async () => {
    const { text } = await ask('/runningpods/');
    assert.equal(JSON.parse(text).items[0].metadata.name, 'one');
  });

  it('serves logs also while containerd is away, and says so of commands', async () => {
    const before = cri.status().pid as number;
    process.kill(before, 'SIGKILL');
    const [logs, exec] = await Promise.all([
      ask('/containerLogs/default/one/ends?tailLines=1'),
      new Promise<{ status: number; text: string }>((resolve, reject) => {
        const ws = new WebSocket(`wss://${base()}/exec/default/one/main?output=1&command=true`, ['v4.channel.k8s.io'], {
          ca: serverCa.cert,
          ...client,
        });
        ws.on('error', reject);
        ws.on('unexpected-response', async (_req, response) => {
          let text = '';
          for await (const chunk of response) text += chunk;
          resolve({ status: response.statusCode ?? 0, text });
        });
      }),
    ]);
    assert.equal(logs.text, 'last\n');
    assert.equal(exec.status, 500);
    assert.match(exec.text, /rpc error: code = Unavailable desc = /);
    await until(() => cri.status().state === 'running' && cri.status().pid !== before, 20_000);
    const { channels, closed } = await stream('/exec/default/one/main?output=1&command=echo&command=again');
    await closed;
    assert.equal(channels[1], 'again\n');
  });
});
