import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import { KubeError } from '../../../../src/kube/index.ts';
import { NodeController, type NodeIdentity } from '../../../../src/kubelet/node/index.ts';
import { FakeClock } from '../../../fakes/clock.ts';

function controller(
  clock: FakeClock,
  networkReady: () => boolean,
  more: { notReady?: () => string | undefined; patch?: (body: unknown) => void } = {},
): NodeController {
  const none = { cpu: 0, memory: 0, ephemeralStorage: 0 };
  const identity = {
    name: 'n1',
    hostname: 'n1',
    ips: ['10.0.0.1'],
    labels: {},
    taints: [],
    annotations: {},
    externalCloud: false,
    kubeletVersion: 'v1.30.0',
    kubeletPort: 10250,
    system: { architecture: 'arm64', bootID: 'b' },
    capacity: { ...none, swap: 0, hugepages: new Map() },
    reserved: none,
    maxPods: 110,
  } as unknown as NodeIdentity;
  const node = { metadata: { name: 'n1', uid: 'u' } };
  return new NodeController({
    client: {
      create: () => Promise.reject(new KubeError({ status: 409, message: 'exists' })),
      get: async () => node,
      patch: async (_path: string, _kind: string, body: unknown) => {
        more.patch?.(body);
        return node;
      },
      onReachable: () => () => {},
    } as never,
    identity,
    runtime: {
      status: async () =>
        ({
          conditions: [{ type: 'NetworkReady', status: networkReady(), reason: 'NoNetwork', message: 'none' }],
          runtimeHandlers: [],
        }) as never,
      version: async () => ({ runtimeName: 'containerd', runtimeVersion: '1.7.0' }) as never,
    },
    images: async () => [],
    ...(more.notReady ? { notReady: more.notReady } : {}),
    pressure: async () => ({ memoryPressure: false, diskPressure: false, pidPressure: false }),
    clock,
    log: silentLogger,
  });
}

test('who waits for the pod network waits no longer than he wants, and goes on as soon as it is there', async () => {
  const clock = new FakeClock();
  let ready = false;
  const node = controller(clock, () => ready);
  await node.start(new AbortController().signal);
  await clock.advance(1_000);
  const told: string[] = [];
  void node.whenNetwork(5_000, new AbortController().signal).then(() => told.push('patience'));
  await clock.advance(4_999);
  assert.equal(told.length, 0);
  await clock.advance(1);
  assert.equal(told.join(), 'patience');
  assert.match(node.networkMissing ?? '', /NetworkReady=false/);
  const stop = new AbortController();
  const stopped = assert.rejects(node.whenNetwork(60_000, stop.signal), { name: 'AbortError' });
  void node.whenNetwork(60_000, new AbortController().signal).then(() => told.push('there'));
  await clock.advance(1_000);
  stop.abort();
  await stopped;
  ready = true;
  await clock.advance(3_000);
  assert.equal(told.join(), 'patience,there');
  assert.equal(node.networkMissing, undefined);
  await node.stop();
  assert.equal(clock.timers, 0);
});

test('a node that goes down is not ready, in the words of the original', async () => {
  const clock = new FakeClock();
  const messages: unknown[] = [];
  let down = false;
  const node = controller(clock, () => true, {
    notReady: () => (down ? 'node is shutting down' : undefined),
    patch: (body) => {
      const { status } = body as { status?: { conditions?: { type: string; status: string; message: string }[] } };
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready) messages.push(`${ready.status} ${ready.message}`);
    },
  });
  await node.start(new AbortController().signal);
  await clock.advance(1_000);
  down = true;
  node.poke();
  await clock.advance(1_000);
  assert.deepEqual(
    [messages[0], messages.at(-1)],
    ['True kubelet is posting ready status', 'False node is shutting down'],
  );
  await node.stop();
});
