import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/index.ts';
import type { Connection, StreamOptions } from '../../../src/cri/client/connection.ts';
import { readEnvelope } from '../../../src/cri/events/decode.ts';
import { createRuntimeEvents } from '../../../src/cri/events/index.ts';
import { containerdSchema } from '../../../src/cri/proto/containerd.ts';
import type { RuntimeEvent, RuntimeService } from '../../../src/cri/types.ts';
import { encode } from '../../../src/grpc/index.ts';

const envelope = (topic: string, message: string, value: object) => ({
  namespace: 'k8s.io',
  topic,
  event: { typeUrl: 'x', value: encode(containerdSchema, message, value) },
});
const exit = (id: string, process = id) =>
  envelope('/tasks/exit', 'TaskExit', { containerId: id, id: process, exitStatus: 137 });

/** A runtime as the event source sees it: streams opened so far, and container states to be set. */
function fakeRuntime(version: string, name = 'containerd') {
  const streams: { path: string; options: StreamOptions; fail: (error: unknown) => void }[] = [];
  const connection = {
    stream: (method: { path: string }, _: object, options: StreamOptions) =>
      new Promise<void>((_, reject) => {
        streams.push({ path: method.path, options, fail: reject });
        options.signal.addEventListener('abort', () => reject(options.signal.reason));
      }),
    stateChange: (_: string, signal: AbortSignal) =>
      new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  } as unknown as Connection;
  const runtime = {
    version: async () => ({ runtimeName: name, runtimeVersion: version, runtimeApiVersion: 'v1' }),
  } as unknown as RuntimeService;
  return { connection, runtime, streams };
}

async function until(ok: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !ok(); i++) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(ok());
}

async function follow(fake: ReturnType<typeof fakeRuntime>, relistMs?: number) {
  const { connection, runtime } = fake;
  const source = createRuntimeEvents({ connection, runtime, ...(relistMs === undefined ? {} : { relistMs }) });
  const events: RuntimeEvent[] = [];
  source.subscribe((event) => events.push(event));
  await source.start(new AbortController().signal);
  return { source, events, resyncs: () => events.filter((e) => e.type === 'resync').length };
}

describe('runtime events', () => {
  it("come from containerd itself before 2.0, exits marked as earlier than CRI's books", async () => {
    const fake = fakeRuntime('1.6.20~ds1');
    const { source, events, resyncs } = await follow(fake);
    await until(() => resyncs() === 2);
    assert.deepEqual(
      fake.streams.map((s) => s.path),
      ['/containerd.services.events.v1.Events/Subscribe'],
    );
    fake.streams[0]?.options.onMessage(exit('c1'));
    assert.deepEqual(events.at(-1), {
      type: 'container',
      kind: 'exited',
      containerId: 'c1',
      exitCode: 137,
      early: true,
    });
    await source.stop();
  });

  it('come from CRI from 2.0 on, with images and OOM kills from containerd', async () => {
    const fake = fakeRuntime('2.3.2-k3s2');
    const { source, events, resyncs } = await follow(fake);
    await until(() => resyncs() === 2);
    assert.equal(source.source(), 'cri');
    const [cri, extra] = fake.streams;
    assert.equal(cri?.path, '/runtime.v1.RuntimeService/GetContainerEvents');
    cri?.options.onMessage({
      containerId: 'c',
      kind: 'exited',
      sandbox: { id: 's' },
      containers: [
        { id: 'b', exitCode: 1 },
        { id: 'c', exitCode: 2 },
      ],
    });
    assert.deepEqual(events.at(-1), {
      type: 'container',
      kind: 'exited',
      containerId: 'c',
      sandboxId: 's',
      exitCode: 2,
    });
    extra?.options.onMessage(envelope('/tasks/oom', 'TaskEvent', { containerId: 'c' }));
    assert.deepEqual(events.at(-1), { type: 'container', kind: 'oom', containerId: 'c' });
    extra?.options.onMessage({ namespace: 'k8s.io', topic: '/images/create' });
    assert.deepEqual(events.at(-1), { type: 'images' });
    await source.stop();
  });

  it('are followed by a resync when the stream broke', async () => {
    const fake = fakeRuntime('1.6.20');
    const { source, resyncs } = await follow(fake);
    await until(() => resyncs() === 2);
    fake.streams[0]?.fail(new AgentError({ code: 'CRI_UNAVAILABLE', message: 'gone' }));
    await until(() => resyncs() === 3);
    assert.equal(fake.streams.length, 2);
    await source.stop();
  });

  it('are made up by relisting for a runtime without streams, and now and then for all', async () => {
    const fake = fakeRuntime('0.3.1', 'docker');
    const { source, resyncs } = await follow(fake);
    await until(() => fake.streams.length === 1);
    fake.streams[0]?.fail(new AgentError({ code: 'CRI_UNIMPLEMENTED', message: 'unknown method' }));
    await until(() => source.source() === 'relist');
    await source.stop();
    const other = await follow(fakeRuntime('1.6.20'), 10);
    await until(() => other.resyncs() >= 4);
    await other.source.stop();
    const quiet = resyncs();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(resyncs(), quiet, 'nothing comes after stop');
  });

  it('of one bad subscriber do not keep others from theirs', async () => {
    const fake = fakeRuntime('1.6.20');
    const source = createRuntimeEvents(fake);
    source.subscribe((event) => {
      if (event.type === 'images') throw new Error('bad');
    });
    let seen = 0;
    source.subscribe((event) => {
      if (event.type === 'images') seen++;
    });
    await source.start(new AbortController().signal);
    await until(() => fake.streams.length === 1);
    fake.streams[0]?.options.onMessage({ namespace: 'k8s.io', topic: '/images/create' });
    assert.equal(seen, 1);
    await source.stop();
  });
});

describe("containerd's envelopes", () => {
  it("of processes exec'd into a container are no exits of the container", () => {
    assert.equal(readEnvelope(exit('c1', 'exec-1')), undefined);
    assert.deepEqual(readEnvelope(exit('c1')), { type: 'exited', id: 'c1', exitCode: 137 });
  });

  it('that are garbled or unknown are nothing', () => {
    const event = { typeUrl: '', value: Buffer.from([0xff, 0xff]) };
    assert.equal(readEnvelope({ namespace: 'k8s.io', topic: '/tasks/exit', event }), undefined);
    assert.equal(readEnvelope({ namespace: 'k8s.io', topic: '/tasks/exit' }), undefined);
    assert.equal(readEnvelope(envelope('/new/thing', 'TaskEvent', { containerId: 'x' })), undefined);
    assert.equal(readEnvelope(envelope('/tasks/start', 'TaskEvent', {})), undefined);
  });
});

it('a subscriber that fails on the first resync harms nobody', async () => {
  const { connection, runtime } = fakeRuntime('2.0.0');
  const source = createRuntimeEvents({ connection, runtime });
  const heard: string[] = [];
  source.subscribe(() => {
    throw new Error('odd');
  });
  source.subscribe((event) => heard.push(event.type));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard, ['resync']);
});
