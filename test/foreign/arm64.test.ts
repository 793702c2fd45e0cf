import assert from 'node:assert/strict';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Cluster, clusterUnavailable, createCluster } from '../e2e/support/cluster.ts';
import type { NodeView } from '../e2e/support/objects.ts';

const root = join(import.meta.dirname, '../..');
const skip = clusterUnavailable();

/** The whole executable of another architecture under qemu-user, as far as it gets without a containerd of its own. */
describe('the arm64 executable', { skip: skip ?? false }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await createCluster(1);
  });
  after(() => cluster?.remove());

  test('joins a server and registers as an arm64 node that waits for its container runtime', async () => {
    const { host } = await cluster.agent('n1');
    const logFile = join(host.disk, 'arm64.log');
    const log = openSync(logFile, 'a');
    const agent = host.start(
      ['qemu-aarch64-static', join(root, 'dist/k3s-agent-arm64'), 'agent'].concat(
        ['--server', cluster.server.url, '--token', cluster.server.token(), '--node-name', 'n1'],
        ['--container-runtime-endpoint', '/run/absent.sock'],
      ),
      {
        stdio: ['ignore', log, log],
        env: {
          QEMU_LD_PREFIX: process.env.QEMU_LD_PREFIX ?? join(root, '.cache/arm64-sysroot'),
          // Set, so that it need not replace itself: qemu-user can't start a foreign program without binfmt.
          MALLOC_ARENA_MAX: '1',
        },
      },
    );
    try {
      const node = await cluster.api.until<NodeView & { status: { nodeInfo: { architecture: string } } }>(
        'the node says that its runtime is missing',
        '/api/v1/nodes/n1',
        (n) => n.status.conditions?.some((c) => c.type === 'Ready' && /runtime/.test(c.message ?? '')) ?? false,
        180_000,
      );
      assert.equal(node.status.nodeInfo.architecture, 'arm64');
      assert.equal(node.metadata.labels['kubernetes.io/arch'], 'arm64');
      await cluster.api.until<NodeView>(
        'flannel announces it',
        '/api/v1/nodes/n1',
        (n) => n.metadata.annotations['flannel.alpha.coreos.com/backend-type'] === 'vxlan',
        60_000,
      );
    } catch (error) {
      console.log(readFileSync(logFile, 'utf8').slice(-5_000), cluster.logs());
      throw error;
    } finally {
      agent.signal('SIGTERM');
      await agent.ended;
    }
  });
});
