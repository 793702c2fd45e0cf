import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import type { RuntimeStatus } from '../../../../src/cri/types.ts';
import { KubeError, type Node } from '../../../../src/kube/index.ts';
import { NodeController, type NodeIdentity } from '../../../../src/kubelet/node/index.ts';
import { FakeClock } from '../../../fakes/clock.ts';

const identity = (ip: string): NodeIdentity => ({
  name: 'n1',
  hostname: 'n1',
  ips: [ip],
  labels: {},
  taints: [],
  annotations: {},
  externalCloud: true,
  kubeletVersion: 'v1.30.0',
  kubeletPort: 10250,
  system: { architecture: 'arm64', bootID: 'b' } as NodeIdentity['system'],
  capacity: {
    cpu: 4,
    memory: 2 ** 30,
    ephemeralStorage: 2 ** 33,
    hugepages: [],
  } as unknown as NodeIdentity['capacity'],
  reserved: { cpu: 0, memory: 0, ephemeralStorage: 0 } as unknown as NodeIdentity['reserved'],
  maxPods: 110,
});

/** A server with one Node whose addresses a cloud controller has set. */
function server(told: string) {
  let node: Node = {
    metadata: { name: 'n1', uid: 'u', annotations: { 'alpha.kubernetes.io/provided-node-ip': told } },
    status: {
      addresses: [
        { type: 'InternalIP', address: told },
        { type: 'ExternalIP', address: '203.0.113.7' },
        { type: 'Hostname', address: 'n1' },
      ],
    } as Node['status'],
  };
  return {
    addresses: () => node.status?.addresses?.map(({ type, address }) => `${type} ${address}`),
    client: {
      create: () => Promise.reject(new KubeError({ status: 409, message: 'exists' })),
      get: async () => structuredClone(node),
      patch: async (path: string, _kind: string, body: Partial<Node>) => {
        const patch = structuredClone(body) as { metadata?: object; status?: Record<string, unknown> };
        const addresses = (patch.status?.addresses as { type?: string }[] | undefined)?.filter(({ type }) => type);
        if (path.endsWith('/status'))
          node = {
            ...node,
            status: { ...node.status, ...patch.status, ...(addresses ? { addresses } : {}) } as Node['status'],
          };
        return structuredClone(node);
      },
      onReachable: () => () => {},
    },
  };
}

function controller(api: ReturnType<typeof server>, ip: string, clock: FakeClock): NodeController {
  return new NodeController({
    client: api.client as never,
    identity: identity(ip),
    runtime: {
      status: async () => ({ conditions: [], runtimeHandlers: [] }) as unknown as RuntimeStatus,
      version: async () => ({ runtimeName: 'containerd', runtimeVersion: '1.7.0' }) as never,
    },
    images: async () => [],
    pressure: async () => ({ memoryPressure: false, diskPressure: false, pidPressure: false }),
    clock,
    log: silentLogger,
  });
}

const MOVED = ['InternalIP 10.0.0.77', 'ExternalIP 203.0.113.7', 'Hostname n1'];

test('a board whose address changes says so itself: the cloud controller looks once a minute only', async () => {
  const api = server('10.0.0.3');
  const clock = new FakeClock();
  const node = controller(api, '10.0.0.3', clock);
  await node.start(AbortSignal.timeout(10_000));
  await node.whenReady();
  assert.deepEqual(api.addresses(), ['InternalIP 10.0.0.3', 'ExternalIP 203.0.113.7', 'Hostname n1']);
  node.update(identity('10.0.0.77'));
  await clock.advance(1_000);
  assert.deepEqual(api.addresses(), MOVED);
  await node.stop();
});

test('a board that got another address while it was off says so at its start', async () => {
  const api = server('10.0.0.3');
  const node = controller(api, '10.0.0.77', new FakeClock());
  await node.start(AbortSignal.timeout(10_000));
  await node.whenReady();
  assert.deepEqual(api.addresses(), MOVED);
  await node.stop();
});
