import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageRoot } from '../../../src/agent/image-root.ts';

const answers = (...mountpoints: (string | undefined)[]) => {
  let calls = 0;
  return {
    images: {
      async imageFsInfo() {
        const mountpoint = mountpoints[calls++];
        if (mountpoint === undefined) throw new Error('the runtime is away');
        const imageFilesystems = [{ timestamp: 0, mountpoint, usedBytes: 0, inodesUsed: 0 }];
        return { imageFilesystems, containerFilesystems: [] };
      },
    },
    calls: () => calls,
  };
};
const paths = { agentDir: '/data/agent' };

test('our own containerd is never asked where its images lie', async () => {
  const cri = answers();
  const root = imageRoot({
    config: { containerRuntimeEndpoint: undefined },
    paths,
    cri,
    criStarted: Promise.resolve(),
  });
  assert.equal(await root(), '/data/agent/containerd');
  assert.equal(cri.calls(), 0);
});

test('another runtime is asked once it is up, until it has answered once', async () => {
  const cri = answers(undefined, '/srv/containers');
  const up = Promise.withResolvers<void>();
  const config = { containerRuntimeEndpoint: 'unix:///run/crio/crio.sock' };
  const root = imageRoot({ config, paths, cri, criStarted: up.promise });
  assert.equal(await root(), '/var/lib/containerd');
  assert.equal(cri.calls(), 0, 'a runtime that is not up is waited for by nobody');
  up.resolve();
  await up.promise;
  await assert.rejects(root(), /away/);
  assert.deepEqual([await root(), await root()], ['/srv/containers', '/srv/containers']);
  assert.equal(cri.calls(), 2);
});
