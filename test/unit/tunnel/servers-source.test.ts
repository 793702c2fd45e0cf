import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, systemClock } from '../../../src/core/index.ts';
import { type KubeClient, KubeError } from '../../../src/kube/index.ts';
import { addressesOfEndpoints, addressesOfSlices, ServersSource, withPort } from '../../../src/tunnel/index.ts';

test('ready endpoints count, with the slice’s first port or 443; rubbish is left out', () => {
  const slices = [
    {
      metadata: { name: 'kubernetes' },
      endpoints: [
        { addresses: ['192.0.2.1'], conditions: { ready: true } },
        { addresses: ['192.0.2.2'], conditions: { ready: false } },
        { addresses: ['not an address', 'fd00::1'] },
      ],
      ports: [{ port: 6443 }],
    },
    { metadata: { name: 'other' }, endpoints: [{ addresses: ['192.0.2.1'] }] },
    { metadata: { name: 'empty' } },
  ];
  assert.deepEqual(addressesOfSlices(slices), ['192.0.2.1:6443', '[fd00::1]:6443', '192.0.2.1:443']);
  const endpoints = [
    {
      metadata: { name: 'kubernetes' },
      subsets: [{ addresses: [{ ip: '192.0.2.1' }, {}], ports: [{ port: 6443 }] }, {}],
    },
  ];
  assert.deepEqual(addressesOfEndpoints(endpoints), ['192.0.2.1:6443']);
});

test('where supervisor and apiserver have their own ports, the hosts stay and the port changes', () => {
  assert.deepEqual(withPort(['192.0.2.1:6443', '[fd00::1]:6443', 'bad'], 9345), ['192.0.2.1:9345', '[fd00::1]:9345']);
});

/** An API server of which only some collections may be listed. */
function client(allowed: string, object: object): { kube: KubeClient; asked: string[] } {
  const asked: string[] = [];
  const kube = {
    onReachable: () => () => {},
    async get(path: string) {
      asked.push(path);
      if (!path.endsWith(allowed)) throw new KubeError({ status: 403, message: 'forbidden' });
      return { metadata: { resourceVersion: '1' }, items: [object] };
    },
    async *watch({ signal }: { signal: AbortSignal }) {
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  };
  return { kube: kube as unknown as KubeClient, asked };
}

test('an old server that hides its EndpointSlices is asked for Endpoints; the supervisor’s own list comes first', async () => {
  const { kube } = client('/endpoints', {
    metadata: { name: 'kubernetes', namespace: 'default', uid: 'u', resourceVersion: '1' },
    subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports: [{ port: 6443 }] }],
  });
  const heard: (readonly string[])[] = [];
  const both = Promise.withResolvers<void>();
  const source = new ServersSource({
    client: kube,
    apiServers: async () => ['192.0.2.9:6443'],
    onAddresses: (addresses) => {
      heard.push(addresses);
      if (heard.length === 2) both.resolve();
    },
    clock: systemClock,
    log: silentLogger,
  });
  await source.start(new AbortController().signal);
  await both.promise;
  await source.stop();
  assert.deepEqual(heard, [['192.0.2.9:6443'], ['192.0.2.1:6443']]);
});
