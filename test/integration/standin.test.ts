import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../lab/run.ts';
import { type Standin, startStandin } from '../standin/index.ts';
import { openAuthority } from '../standin/pki/authority.ts';

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of many kinds are looked into
  body: any;
}

interface Credentials {
  cert?: string;
  key?: string;
  headers?: Record<string, string>;
}

const dir = mkdtempSync(join(tmpdir(), 'standin-test-'));
let standin: Standin;
let admin: Credentials;

function ask(
  method: string,
  path: string,
  options: Credentials & { body?: unknown; type?: string } = {},
): Promise<Answer> {
  const { cert, key, headers, body, type = 'application/json' } = options;
  const ca = openAuthority(dir).serverCa.cert;
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      {
        host: '127.0.0.1',
        port: standin.port,
        path,
        method,
        ca,
        cert,
        key,
        agent: false,
        headers: { 'content-type': type, ...headers },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => {
          const json = /json/.test(response.headers['content-type'] ?? '');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            body: json && text ? JSON.parse(text.split('\n{')[0] as string) : text,
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : Buffer.isBuffer(body) ? body : JSON.stringify(body));
  });
}

const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const node = (name: string, password = 'a'.repeat(32)) => ({
  ...basic('node', 'secret-token'),
  'k3s-node-name': name,
  'k3s-node-password': password,
});
const nodeCertificate = (name: string) =>
  openAuthority(dir).clientCertificate({ commonName: `system:node:${name}`, organizations: ['system:nodes'] });
const PODS = '/api/v1/namespaces/default/pods';
const podBody = (name: string, spec: Record<string, unknown> = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: 'c', image: 'busybox' }], ...spec },
});

before(async () => {
  standin = await startStandin({ dataDir: dir, token: 'secret-token', bookmarkMs: 100, nodeGraceMs: 2000 });
  admin = openAuthority(dir).clientCertificate({ commonName: 'system:admin', organizations: ['system:masters'] });
});
after(async () => {
  await standin.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe('the supervisor', () => {
  test('the CA is for everybody, and the token carries its hash', async () => {
    const { status, text } = await ask('GET', '/cacerts');
    assert.equal(status, 200);
    const { createHash } = await import('node:crypto');
    assert.equal(standin.token.slice(3, 67), createHash('sha256').update(text).digest('hex'));
    assert.equal(readFileSync(standin.tokenFile, 'utf8').trim(), standin.token);
  });

  test('no credentials are 403, wrong ones 401, the wrong group 403', async () => {
    assert.equal((await ask('GET', '/v1-k3s/config')).status, 403);
    assert.deepEqual(
      await ask('GET', '/v1-k3s/config', { headers: basic('node', 'x') }).then((a) => [a.status, a.body.message]),
      [401, 'not authorized'],
    );
    assert.equal((await ask('GET', '/v1-k3s/config', { headers: basic('server', 'secret-token') })).status, 403);
    const good = await ask('GET', '/v1-k3s/config', { headers: basic('node', 'secret-token') });
    assert.equal(good.status, 200);
    assert.deepEqual(good.body.ClusterIPRange, { IP: '10.42.0.0', Mask: '//8AAA==' });
  });

  test('a kubelet certificate needs name and password, and the password binds the name', async () => {
    const path = '/v1-k3s/client-kubelet.crt';
    assert.match(
      (await ask('POST', path, { headers: basic('node', 'secret-token') })).body.message,
      /node name not set/,
    );
    const answer = await ask('POST', path, { headers: node('Board') });
    assert.equal(answer.status, 200);
    assert.match(answer.text, /EC PRIVATE KEY/, 'without a request the shared key comes with it');
    assert.equal(new X509Certificate(answer.text).subject, 'O=system:nodes\nCN=system:node:board');
    const other = await ask('POST', path, { headers: node('board', 'b'.repeat(32)) });
    assert.deepEqual([other.status, other.body.reason], [403, 'Forbidden']);
    assert.match(other.body.message, /unable to verify password for node board: hash does not match/);
    const secret = await ask('GET', '/api/v1/namespaces/kube-system/secrets/board.node-password.k3s', admin);
    assert.match(
      Buffer.from(secret.body.data.hash, 'base64').toString(),
      /^\$1:[0-9a-f]{16}:15:8:1:[A-Za-z0-9+/]{86}$/,
    );
  });

  test('the certificate of a node that is gone is 401', async () => {
    const answer = await ask('POST', '/v1-k3s/client-kubelet.crt', {
      ...nodeCertificate('nobody'),
      headers: { 'k3s-node-name': 'nobody', 'k3s-node-password': 'x' },
    });
    assert.equal(answer.status, 401);
  });

  test('a bootstrap token that is a secret lets in, an expired one does not', async () => {
    const encode = (text: string) => Buffer.from(text).toString('base64');
    const secret = (expiration: string) => ({
      metadata: { name: 'bootstrap-token-abcdef' },
      type: 'bootstrap.kubernetes.io/token',
      data: {
        'token-id': encode('abcdef'),
        'token-secret': encode('0123456789abcdef'),
        'usage-bootstrap-authentication': encode('true'),
        expiration: encode(expiration),
      },
    });
    const path = '/api/v1/namespaces/kube-system/secrets';
    const headers = { authorization: 'Bearer abcdef.0123456789abcdef' };
    await ask('POST', path, { ...admin, body: secret('2100-01-01T00:00:00Z') });
    assert.equal((await ask('GET', '/v1-k3s/config', { headers })).status, 200);
    await ask('PUT', `${path}/bootstrap-token-abcdef`, { ...admin, body: secret('2020-01-01T00:00:00Z') });
    assert.equal((await ask('GET', '/v1-k3s/config', { headers })).status, 401);
  });

  test('a serving certificate has the names and addresses asked for', async () => {
    const answer = await ask('POST', '/v1-k3s/serving-kubelet.crt', {
      headers: { ...node('board'), 'k3s-node-ip': '10.9.9.9,fd00::9' },
    });
    const names = new X509Certificate(answer.text).subjectAltName ?? '';
    for (const name of ['DNS:board', 'DNS:localhost', 'IP Address:10.9.9.9', 'IP Address:127.0.0.1'])
      assert.ok(names.includes(name), names);
  });
});

describe('the API', () => {
  test('nobody is 401, unknown paths and objects are 404 with a Status', async () => {
    assert.equal((await ask('GET', '/api/v1/nodes')).status, 401);
    const missing = await ask('GET', `${PODS}/nope`, admin);
    assert.deepEqual([missing.status, missing.body.message], [404, 'pods "nope" not found']);
    assert.equal((await ask('GET', '/api/v1/nothing', admin)).status, 404);
  });

  test('a pod gets the defaults, the token volume and the tolerations of the real server', async () => {
    const { status, body } = await ask('POST', PODS, { ...admin, body: podBody('defaults') });
    assert.equal(status, 201);
    assert.equal(body.spec.containers[0].imagePullPolicy, 'Always');
    assert.equal(body.spec.terminationGracePeriodSeconds, 30);
    assert.match(body.spec.volumes[0].name, /^kube-api-access-/);
    assert.deepEqual(
      body.spec.tolerations.map((t: { key: string }) => t.key),
      ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'],
    );
    assert.deepEqual(body.status, { phase: 'Pending', qosClass: 'BestEffort' });
    const again = await ask('POST', PODS, { ...admin, body: podBody('defaults') });
    assert.deepEqual([again.status, again.body.reason], [409, 'AlreadyExists']);
  });

  test('what is wrong with an object is said field by field', async () => {
    const { status, body } = await ask('POST', PODS, { ...admin, body: { metadata: { name: 'A_b' }, spec: {} } });
    assert.equal(status, 422);
    assert.deepEqual(
      body.details.causes.map((c: { field: string }) => c.field),
      ['metadata.name', 'spec.containers'],
    );
    assert.match(
      body.message,
      /^Pod "A_b" is invalid: \[metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain/,
    );
  });

  test('an old version is a conflict, no change no new version, a status patch leaves the spec', async () => {
    const path = '/api/v1/namespaces/default/configmaps';
    const { body: first } = await ask('POST', path, { ...admin, body: { metadata: { name: 'c' }, data: { a: '1' } } });
    const { body: second } = await ask('PUT', `${path}/c`, { ...admin, body: { ...first, data: { a: '2' } } });
    const same = await ask('PUT', `${path}/c`, { ...admin, body: second });
    assert.equal(same.body.metadata.resourceVersion, second.metadata.resourceVersion);
    const stale = await ask('PUT', `${path}/c`, { ...admin, body: { ...first, data: { a: '3' } } });
    assert.deepEqual([stale.status, stale.body.reason], [409, 'Conflict']);
    await ask('POST', PODS, { ...admin, body: podBody('statused') });
    const patched = await ask('PATCH', `${PODS}/statused/status`, {
      ...admin,
      type: 'application/strategic-merge-patch+json',
      body: { spec: { nodeName: 'x' }, status: { phase: 'Running' } },
    });
    assert.equal(patched.body.status.phase, 'Running');
    assert.equal(patched.body.spec.nodeName, undefined);
  });

  test('lists come in pages, in order', async () => {
    const path = '/api/v1/namespaces/kube-public/configmaps';
    for (const name of ['p1', 'p2', 'p3'])
      await ask('POST', path, { ...admin, body: { metadata: { name, labels: { paged: 'yes' } } } });
    const names: string[] = [];
    let next = '';
    do {
      const { body } = await ask(
        'GET',
        `${path}?limit=2&labelSelector=paged%3Dyes${next && `&continue=${next}`}`,
        admin,
      );
      names.push(...body.items.map((item: { metadata: { name: string } }) => item.metadata.name));
      next = body.metadata.continue ?? '';
    } while (next);
    assert.deepEqual(names, ['p1', 'p2', 'p3']);
  });

  test('a watch shows changes, bookmarks, what leaves the selection, and ends with 410 when it is too old', async () => {
    const path = '/api/v1/namespaces/kube-public/configmaps';
    const start = (await ask('GET', path, admin)).body.metadata.resourceVersion;
    const watching = ask(
      'GET',
      `${path}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=${start}&labelSelector=w%3D1`,
      admin,
    );
    await ask('POST', path, { ...admin, body: { metadata: { name: 'w', labels: { w: '1' } } } });
    await ask('PATCH', `${path}/w`, { ...admin, type: 'application/merge-patch+json', body: { data: { a: 'b' } } });
    await ask('PATCH', `${path}/w`, {
      ...admin,
      type: 'application/merge-patch+json',
      body: { metadata: { labels: { w: '2' } } },
    });
    const lines = (await watching).text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map((line) => line.type).filter((type) => type !== 'BOOKMARK'),
      ['ADDED', 'MODIFIED', 'DELETED'],
    );
    assert.equal(
      lines.find((line) => line.type === 'DELETED').object.metadata.labels.w,
      '1',
      'in its last matching form',
    );
    assert.ok(lines.some((line) => line.type === 'BOOKMARK'));
    standin.faults.truncateHistory();
    const old = await ask('GET', `${path}?watch=1&resourceVersion=${start}`, admin);
    assert.deepEqual([JSON.parse(old.text).type, JSON.parse(old.text).object.code], ['ERROR', 410]);
  });

  test('a bound pod leaves gracefully, with its uid as precondition', async () => {
    const { body: pod } = await ask('POST', PODS, { ...admin, body: podBody('leaving', { nodeName: 'somewhere' }) });
    const { body: leaving } = await ask('DELETE', `${PODS}/leaving`, admin);
    assert.equal(leaving.metadata.deletionGracePeriodSeconds, 30);
    const wrong = await ask('DELETE', `${PODS}/leaving?gracePeriodSeconds=0&uid=other`, admin);
    assert.equal(wrong.status, 409);
    await ask('DELETE', `${PODS}/leaving?gracePeriodSeconds=0&uid=${pod.metadata.uid}`, admin);
    assert.equal((await ask('GET', `${PODS}/leaving`, admin)).status, 404);
  });

  test('a service account token is issued, reviewed, and void when its pod is gone', async () => {
    const { body: pod } = await ask('POST', PODS, { ...admin, body: podBody('bound') });
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'bound', uid: pod.metadata.uid };
    const path = '/api/v1/namespaces/default/serviceaccounts/default/token';
    const { body: issued } = await ask('POST', path, {
      ...admin,
      body: { spec: { audiences: ['vault'], boundObjectRef } },
    });
    const review = async () =>
      (
        await ask('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
          ...admin,
          body: { spec: { token: issued.status.token, audiences: ['vault'] } },
        })
      ).body.status;
    assert.equal((await review()).user.username, 'system:serviceaccount:default:default');
    await ask('DELETE', `${PODS}/bound?gracePeriodSeconds=0`, admin);
    assert.equal((await review()).authenticated, undefined);
  });

  test('tables have the columns of kubectl get', async () => {
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const { body } = await ask('GET', PODS, { ...admin, headers: { accept } });
    assert.equal(body.kind, 'Table');
    assert.deepEqual(
      body.columnDefinitions.slice(0, 5).map((c: { name: string }) => c.name),
      ['Name', 'Ready', 'Status', 'Restarts', 'Age'],
    );
  });
});

describe('what a kubelet may do', () => {
  const kubelet = () => nodeCertificate('board');
  before(async () => {
    await ask('POST', '/api/v1/nodes', { ...admin, body: { metadata: { name: 'board' } } });
    await ask('POST', '/api/v1/nodes', { ...admin, body: { metadata: { name: 'other' } } });
    await ask('POST', '/api/v1/namespaces/default/secrets', { ...admin, body: { metadata: { name: 'used' } } });
    await ask('POST', '/api/v1/namespaces/default/secrets', { ...admin, body: { metadata: { name: 'unused' } } });
    const volumes = [{ name: 's', secret: { secretName: 'used' } }];
    await ask('POST', PODS, { ...admin, body: podBody('mine', { nodeName: 'board', volumes }) });
    await ask('POST', PODS, { ...admin, body: podBody('theirs', { nodeName: 'other' }) });
  });

  test('reads its own node and pods, and the secrets these use', async () => {
    const status = async (path: string) => (await ask('GET', path, kubelet())).status;
    assert.equal(await status('/api/v1/nodes/board'), 200);
    assert.equal(await status('/api/v1/nodes/other'), 403);
    assert.equal(await status('/api/v1/nodes'), 403);
    assert.equal(await status('/api/v1/pods?fieldSelector=spec.nodeName%3Dboard'), 200);
    assert.equal(await status('/api/v1/pods'), 403);
    assert.equal(await status('/api/v1/namespaces/default/secrets/used'), 200);
    assert.equal(await status('/api/v1/namespaces/default/secrets/unused'), 403);
    assert.equal(await status('/api/v1/services'), 200);
  });

  test('writes its own node only, and no label that is not its to set', async () => {
    const patch = async (name: string, body: unknown) =>
      ask('PATCH', `/api/v1/nodes/${name}`, { ...kubelet(), type: 'application/merge-patch+json', body });
    assert.equal(
      (await patch('board', { metadata: { labels: { 'kubernetes.io/arch': 'arm64', mine: 'yes' } } })).status,
      200,
    );
    assert.match(
      (await patch('other', { metadata: { labels: { mine: 'yes' } } })).body.message,
      /node "board" is not allowed to modify node "other"/,
    );
    assert.match(
      (await patch('board', { metadata: { labels: { 'node-role.kubernetes.io/x': '' } } })).body.message,
      /is not allowed to modify/,
    );
    assert.match(
      (await patch('board', { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } })).body.message,
      /is not allowed to modify taints/,
    );
  });

  test('sets the status of its own pods, and creates mirror pods only', async () => {
    const status = (name: string) =>
      ask('PATCH', `${PODS}/${name}/status`, {
        ...kubelet(),
        type: 'application/strategic-merge-patch+json',
        body: { status: { phase: 'Running' } },
      });
    assert.equal((await status('mine')).status, 200);
    assert.equal((await status('theirs')).status, 403);
    assert.match(
      (await ask('POST', PODS, { ...kubelet(), body: podBody('fresh') })).body.message,
      /can only create mirror pods/,
    );
  });
});

describe('controllers', () => {
  test('a node gets its pod addresses and, once it says where it is, addresses and no more taint', async () => {
    const spec = {
      taints: [{ key: 'node.cloudprovider.kubernetes.io/uninitialized', value: 'true', effect: 'NoSchedule' }],
    };
    const annotations = { 'k3s.io/internal-ip': '10.0.0.5', 'k3s.io/hostname': 'fresh' };
    await ask('POST', '/api/v1/nodes', { ...admin, body: { metadata: { name: 'fresh' }, spec } });
    const get = async () => (await ask('GET', '/api/v1/nodes/fresh', admin)).body;
    const tainted = (n: { spec: { taints?: { key: string }[] } }) =>
      n.spec.taints?.some((t) => t.key.includes('uninitialized'));
    const waiting = await eventually('a pod CIDR', async () => ((await get()).spec.podCIDR ? get() : undefined));
    assert.ok(tainted(waiting), 'without the annotation it stays uninitialized');
    await ask('PATCH', '/api/v1/nodes/fresh', {
      ...admin,
      type: 'application/merge-patch+json',
      body: { metadata: { annotations } },
    });
    const ready = await eventually('initialized', async () => (tainted(await get()) ? undefined : get()));
    assert.deepEqual(ready.status.addresses, [
      { type: 'InternalIP', address: '10.0.0.5' },
      { type: 'Hostname', address: 'fresh' },
    ]);
    assert.equal(ready.spec.providerID, 'k3s://fresh');
  });

  test('a silent node becomes Unknown and tainted', async () => {
    const get = async () => (await ask('GET', '/api/v1/nodes/board', admin)).body;
    const unknown = await eventually('Unknown', async () => {
      const found = await get();
      return found.status?.conditions?.some(
        (c: { type: string; status: string }) => c.type === 'Ready' && c.status === 'Unknown',
      )
        ? found
        : undefined;
    });
    await eventually('tainted', async () =>
      (await get()).spec.taints?.some((t: { key: string }) => t.key === 'node.kubernetes.io/unreachable'),
    );
    assert.equal(unknown.status.conditions[0].reason, 'NodeStatusNeverUpdated');
  });

  test('deleting a deployment takes its replica sets and pods with it', async () => {
    const path = '/apis/apps/v1/namespaces/default/deployments';
    const template = { metadata: { labels: { app: 'd' } }, spec: { containers: [{ name: 'c', image: 'x' }] } };
    await ask('POST', path, {
      ...admin,
      body: { metadata: { name: 'd' }, spec: { replicas: 3, selector: { matchLabels: { app: 'd' } }, template } },
    });
    const pods = async () => (await ask('GET', `${PODS}?labelSelector=app%3Dd`, admin)).body.items.length;
    await eventually('three pods', async () => (await pods()) === 3);
    await ask('DELETE', `${path}/d`, admin);
    await eventually('none', async () => (await pods()) === 0);
  });

  test('a deleted namespace empties and goes', async () => {
    await ask('POST', '/api/v1/namespaces', { ...admin, body: { metadata: { name: 'brief' } } });
    await eventually(
      'its service account',
      async () => (await ask('GET', '/api/v1/namespaces/brief/serviceaccounts/default', admin)).status === 200,
    );
    await ask('POST', '/api/v1/namespaces/brief/pods', { ...admin, body: podBody('p') });
    await ask('DELETE', '/api/v1/namespaces/brief', admin);
    const late = await ask('POST', '/api/v1/namespaces/brief/configmaps', {
      ...admin,
      body: { metadata: { name: 'late' } },
    });
    assert.ok([403, 404].includes(late.status));
    await eventually('gone', async () => (await ask('GET', '/api/v1/namespaces/brief', admin)).status === 404);
  });
});

describe('faults', () => {
  test('not ready is 503, a failing request fails as often as told, a pause holds answers back', async () => {
    standin.faults.notReady(true);
    assert.equal((await ask('GET', '/api/v1/nodes', admin)).status, 503);
    assert.equal((await ask('GET', '/v1-k3s/readyz', { headers: basic('node', 'secret-token') })).status, 503);
    standin.faults.clear();
    standin.faults.fail({ match: /GET \/api\/v1\/nodes/, answer: 429, times: 1, retryAfter: 1 });
    assert.equal((await ask('GET', '/api/v1/nodes', admin)).status, 429);
    assert.equal((await ask('GET', '/api/v1/nodes', admin)).status, 200);
    standin.faults.pause();
    let answered = false;
    const waiting = ask('GET', '/api/v1/nodes', admin).then(() => {
      answered = true;
    });
    assert.equal(
      await Promise.race([waiting.then(() => 'answered'), new Promise((resolve) => setTimeout(resolve, 200, 'held'))]),
      'held',
    );
    standin.faults.resume();
    await waiting;
    assert.ok(answered);
  });

  test('a stopped server comes back with its objects and its identity', async () => {
    const before = await ask('GET', '/cacerts');
    await standin.stop();
    standin = await startStandin({ dataDir: dir, token: 'secret-token' });
    assert.equal((await ask('GET', '/cacerts')).text, before.text);
    assert.equal((await ask('GET', '/api/v1/namespaces/default/configmaps/c', admin)).body.data.a, '2');
  });
});

test('a server of an old version hands out its own key and speaks plain text', async () => {
  const other = mkdtempSync(join(tmpdir(), 'standin-old-'));
  const current = standin;
  try {
    const authority = openAuthority(other);
    const server = await startStandin({ dataDir: other, token: 'secret-token', version: 'v1.21.14+k3s1' });
    standin = server;
    const read = (path: string, headers: Record<string, string>) =>
      new Promise<{ status: number; text: string }>((resolve, reject) => {
        httpsRequest(
          { host: '127.0.0.1', port: server.port, path, ca: authority.serverCa.cert, agent: false, headers },
          (response) => {
            let text = '';
            response.on('data', (chunk) => {
              text += chunk;
            });
            response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
          },
        )
          .on('error', reject)
          .end();
      });
    const certificate = await read('/v1-k3s/client-kubelet.crt', node('board'));
    assert.match(certificate.text, /EC PRIVATE KEY/);
    assert.deepEqual(await read('/v1-k3s/config', basic('node', 'no')), { status: 401, text: 'not authorized\n' });
    assert.equal((await read('/v1-k3s/apiservers', basic('node', 'secret-token'))).status, 401);
    await server.stop();
  } finally {
    standin = current;
    rmSync(other, { recursive: true, force: true });
  }
});
