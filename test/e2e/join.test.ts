import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/index.ts';
import type { LabAgent } from './support/agent.ts';
import { type Cluster, clusterUnavailable, createCluster, watched } from './support/cluster.ts';
import { isReady, type NodeView } from './support/objects.ts';
import { PASSWORD } from './support/server.ts';

describe('joining, and what is said when it fails', { skip: clusterUnavailable() ?? false }, () => {
  let cluster: Cluster;
  const logged = (body: () => Promise<void>) => watched(() => cluster, body);
  before(async () => {
    cluster = await createCluster(2);
  });
  after(() => cluster?.remove());

  /** Starts an agent on a fresh disk and waits for words in its log; it must go on trying. */
  async function says(options: { token?: string; server?: string }, words: RegExp): Promise<void> {
    const { agent, host } = await cluster.agent('n2', options);
    await host.reflash();
    agent.start();
    await eventually(`the log says ${words}`, () => words.test(agent.log()), 30_000);
    assert.ok(agent.running(), 'the agent stays up');
  }

  const ready = (name: string) => cluster.api.until<NodeView>(`${name} is ready`, `/api/v1/nodes/${name}`, isReady);

  async function leave(name: string, agent: LabAgent): Promise<void> {
    await agent.stop();
    await cluster.api.delete(`/api/v1/nodes/${name}`);
    await cluster.api.gone(`/api/v1/nodes/${name}`);
  }

  test(
    'joins by the full token',
    logged(async () => {
      const { agent } = await cluster.agent('n1');
      agent.start();
      await ready('n1');
      await leave('n1', agent);
    }),
  );

  test(
    'joins by the bare password, again after its node was deleted',
    logged(async () => {
      const { agent } = await cluster.agent('n1', { token: PASSWORD });
      agent.start();
      await ready('n1');
      await leave('n1', agent);
    }),
  );

  test('joins by a bootstrap token', async (t) => {
    if (cluster.minor < 24) return t.skip('the supervisor of such a server knows no bootstrap tokens');
    await logged(async () => {
      const encode = (text: string) => Buffer.from(text).toString('base64');
      await cluster.api.create('/api/v1/namespaces/kube-system/secrets', {
        metadata: { name: 'bootstrap-token-abcdef' },
        type: 'bootstrap.kubernetes.io/token',
        data: {
          'token-id': encode('abcdef'),
          'token-secret': encode('0123456789abcdef'),
          'usage-bootstrap-authentication': encode('true'),
          'auth-extra-groups': encode('system:bootstrappers:k3s:default-node-token'),
        },
      });
      const { agent } = await cluster.agent('n1', { token: 'abcdef.0123456789abcdef' });
      agent.start();
      await ready('n1');
      await agent.stop();
    })();
  });

  test(
    'a wrong token is called one, and the agent goes on trying',
    logged(async () => {
      await says({ token: 'not-the-password' }, /can not join.*rejects the token/);
    }),
  );

  test(
    'a token of another cluster names the CA',
    logged(async () => {
      await says({ token: `K10${'0'.repeat(64)}::server:${PASSWORD}` }, /can not join.*\bCA\b/);
    }),
  );

  test(
    'a port where nobody listens is told from a name nobody knows',
    logged(async () => {
      await says(
        { server: `https://${cluster.lab.network.address('srv')}:6555` },
        /can not join.*step=tcp.*ECONNREFUSED/,
      );
      await says({ server: 'https://no-such-server.invalid:6443' }, /can not join.*step=dns/);
    }),
  );

  test(
    'the name of another board is refused with a remedy, until that node is deleted',
    logged(async () => {
      const first = await cluster.agent('n1');
      const before = first.agent.log().length;
      first.agent.start();
      // The Node may be there and Ready of an earlier run: its own password counts once it is in again.
      const isIn = () => /the node is ready/.test(first.agent.log().slice(before));
      await eventually('the first board is in', isIn, 60_000);
      const { agent, host } = await cluster.agent('n2', { args: ['--node-name', 'n1'] });
      await host.reflash();
      agent.start();
      const said = /can not join.*step=node-password.*another password.*remedy=.*kubectl delete node n1/;
      await eventually('the log names the password and what to do', () => said.test(agent.log()), 30_000);
      await first.agent.stop();
      const { metadata } = await cluster.api.get<NodeView>('/api/v1/nodes/n1');
      await cluster.api.delete('/api/v1/nodes/n1');
      await cluster.api.until<NodeView>(
        'the second board takes the name',
        '/api/v1/nodes/n1',
        (node) => isReady(node) && node.metadata.uid !== metadata.uid,
        90_000,
      );
    }),
  );
});

describe('a server whose clock is a year ahead', {
  skip: clusterUnavailable() ?? (process.env.K3S_SERVER_BIN ? 'only the stand-in has such a clock' : false),
}, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await createCluster(1, { standinArgs: ['--clock-ahead', String(366 * 86400)], silent: true });
  });
  after(() => cluster?.remove());

  test(
    'the clock is named, not the certificate alone',
    watched(
      () => cluster,
      async () => {
        const { agent } = await cluster.agent('n1');
        agent.start();
        await eventually('the log names the clock', () => /can not join.*clock/i.test(agent.log()), 30_000);
        assert.ok(agent.running(), 'the agent stays up');
      },
    ),
  );
});
