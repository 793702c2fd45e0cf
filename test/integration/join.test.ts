import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer as createHttp } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { createJoin, createRenewer, type JoinProgress, type Renewal } from '../../src/join/index.ts';
import { createCa } from '../standin/pki/certificates.ts';
import { board } from './join-support/agent.ts';
import { BOOTSTRAP, PASSWORD, startSupervisor } from './join-support/server.ts';

test('a board joins by its full token and lays out its files as the original does', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const joined = await b.join();
  assert.equal(joined.nodeName, 'n1');
  assert.deepEqual(joined.config.clusterDns, ['10.43.0.10']);
  const { paths } = b.options;
  const files = [paths.serverCa, paths.clientCa, ...Object.values(paths.kubeconfigs)];
  for (const name of ['serving-kubelet', 'client-kubelet', 'client-kube-proxy', 'client-k3s-controller'] as const)
    files.push(paths.cert(name), paths.key(name));
  for (const file of files) assert.equal((await stat(file)).mode & 0o777, 0o600, file);
  assert.equal((await stat(paths.agentDir)).mode & 0o777, 0o700);
  assert.equal(await readFile(paths.serverCa, 'utf8'), server.ca.cert);
  const kubelet = new X509Certificate(await readFile(paths.cert('client-kubelet')));
  assert.match(kubelet.subject, /O=system:nodes\nCN=system:node:n1/);
  assert.match(await readFile(paths.kubeconfigs['client-kubelet'], 'utf8'), /certificate-authority: .*server-ca\.crt/);
  const serving = new X509Certificate((await joined.serving).cert);
  assert.ok(serving.checkIP('10.9.8.7'));
  assert.match(await readFile(paths.password, 'utf8'), /^[0-9a-f]{32}\n$/);
  assert.ok(!b.said().includes(PASSWORD));
  assert.equal(server.seen.filter((s) => s.path === '/cacerts' && s.authorization !== undefined).length, 0);
});

test('a board that has joined before comes back by its certificate, asking for nothing new', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const first = await b.join();
  await first.serving;
  server.seen.length = 0;
  const again = await b.join();
  assert.deepEqual(server.seen.map((s) => s.path).sort(), ['/v1-k3s/client-ca.crt', '/v1-k3s/config']);
  assert.ok(server.seen.every((s) => s.client === 'system:node:n1' && s.authorization === undefined));
  assert.equal(again.certificates['client-kubelet'].cert, first.certificates['client-kubelet'].cert);
  assert.equal(again.reused.length, 4);
});

test('bare passwords and bootstrap tokens trust the CA they meet, and say so', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  for (const token of [PASSWORD, BOOTSTRAP]) {
    const b = await board(t, server.url, { token });
    const joined = await b.join();
    assert.ok(joined.token.startsWith(server.token.slice(0, 67)));
    assert.match(b.said(), /trusted on first use/);
    await joined.serving;
    server.passwords.clear();
  }
});

test('an old server that sends its own key is understood', async (t) => {
  const server = await startSupervisor({ old: true });
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const joined = await b.join();
  const { cert, key } = joined.certificates['client-kubelet'];
  assert.equal(joined.certificates['client-kube-proxy'].key, key, 'one key for all');
  assert.ok(cert.includes('BEGIN CERTIFICATE') && !cert.includes('PRIVATE KEY'));
  assert.equal(await readFile(b.options.paths.key('client-kubelet'), 'utf8'), key);
  await joined.serving;
});

test('after its Node was deleted a board comes back by its token', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  await (await b.join()).serving;
  await writeFile(b.options.paths.cert('serving-kubelet'), '');
  server.passwords.clear();
  server.seen.length = 0;
  const again = await b.join();
  await again.serving;
  const asked = server.seen.filter((s) => s.path.includes('serving-kubelet'));
  assert.deepEqual(
    asked.map((s) => s.authorization !== undefined),
    [false, true],
  );
});

test('a wrong CA hash, a foreign certificate and a changed CA are told apart', async (t) => {
  const server = await startSupervisor();
  const foreign = await startSupervisor({ shownCa: createCa('k3s-server-ca@1').cert });
  t.after(() => Promise.all([server.close(), foreign.close()]));
  const b = await board(t, server.url, { token: `K10${'a'.repeat(64)}::server:${PASSWORD}` });
  const wrong = await b.failure();
  assert.equal(wrong.step, 'tls-ca');
  assert.match(`${wrong.message} ${wrong.remedy}`, /aaaaaaaaaaaa….*node-token/);
  assert.ok(!b.said().includes(PASSWORD));
  const other = await (await board(t, foreign.url, { token: PASSWORD })).failure();
  assert.equal(other.step, 'tls-ca');
  assert.match(other.message, /not signed by the CA/);
  assert.ok(
    foreign.seen.every((s) => s.authorization === undefined),
    'no credentials without trust',
  );
});

test('a server that was installed anew is joined again where the token names no CA', async (t) => {
  const before = await startSupervisor();
  const b = await board(t, before.url, { token: PASSWORD });
  await (await b.join()).serving;
  await before.close();
  const after = await startSupervisor({ port: before.port });
  t.after(() => after.close());
  const joined = await b.join();
  assert.equal(joined.serverCa, after.ca.cert);
  assert.deepEqual(joined.reused, []);
  await joined.serving;
});

test('an expired certificate tells both dates and the clock of the board', async (t) => {
  const server = await startSupervisor({ days: -0.01 });
  t.after(() => server.close());
  const failure = await (await board(t, server.url, { token: server.token })).failure();
  assert.equal(failure.step, 'tls-clock');
  assert.match(failure.message, /clock of this board says \d{4}-.*valid from \d{4}-.* to \d{4}-/);
  assert.match(failure.remedy ?? '', /restart k3s on the server/, 'both clocks agree, so it is the certificate');
});

test('when the clock of the board jumps, it tries at once', async (t) => {
  const server = await startSupervisor({ days: -0.01 });
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  let shift = 0;
  const times: number[] = [];
  const stop = new AbortController();
  const join = createJoin({
    ...b.options,
    random: () => 0,
    clock: { ...b.options.clock, now: () => Date.now() + shift },
    onProgress(p) {
      if (p.phase !== 'failed') return;
      times.push(performance.now());
      // By now it waits for two seconds; the clock is set in the middle of that.
      if (p.attempt === 4) setTimeout(() => (shift = 3_600_000), 100);
      if (p.attempt === 5) stop.abort();
    },
  });
  await assert.rejects(join.run(AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)])));
  assert.ok(times[4]! - times[3]! < 1_500, `${times[4]! - times[3]!} ms`);
});

test('a certificate for another name is told as such', async (t) => {
  const server = await startSupervisor({ names: ['elsewhere.example', '10.0.0.1'] });
  t.after(() => server.close());
  const failure = await (await board(t, server.url, { token: server.token })).failure();
  assert.equal(failure.step, 'tls-name');
  assert.match(failure.remedy ?? '', /--tls-san/);
});

test('a name that does not resolve and a port that is closed are told apart, also behind a load balancer', async (t) => {
  const server = await startSupervisor();
  await server.close();
  // What the local load balancer does when no server answers: it hangs up.
  const balancer = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => balancer.listen(0, '127.0.0.1', resolve));
  t.after(() => balancer.close());
  const dialUrl = `https://127.0.0.1:${(balancer.address() as AddressInfo).port}`;
  const token = PASSWORD;
  for (const dial of [server.url, dialUrl]) {
    const closed = await (await board(t, server.url, { token, dialUrl: dial })).failure();
    assert.equal(closed.step, 'tcp', closed.message);
    assert.match(closed.message, new RegExp(`${server.url}.*ECONNREFUSED`));
  }
  const nowhere = 'https://no-such-server.invalid:6443';
  const lost = await (await board(t, nowhere, { token, dialUrl })).failure();
  assert.equal(lost.step, 'dns');
  assert.match(lost.message, /no-such-server\.invalid/);
});

test('what answers but is no server is called a proxy', async (t) => {
  const plain = createHttp((_, response) => response.end('hello'));
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  t.after(() => plain.close());
  const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}`;
  assert.equal((await (await board(t, url, { token: PASSWORD })).failure()).step, 'proxy');
  const server = await startSupervisor();
  t.after(() => server.close());
  server.intercept = () => ({ status: 200, type: 'text/html', body: '<html>log in to the hotel</html>' });
  assert.equal((await (await board(t, server.url, { token: PASSWORD })).failure()).step, 'proxy');
  server.intercept = () => ({ status: 302, body: '' });
  assert.equal((await (await board(t, server.url, { token: PASSWORD })).failure()).step, 'proxy');
});

test('refusals name their reason and what to do', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const token = await (await board(t, server.url, { token: 'wrong-password' })).failure();
  assert.equal(token.step, 'token');
  assert.match(token.remedy ?? '', /node-token/);

  server.passwords.set('n1', 'another');
  const b = await board(t, server.url, { token: server.token });
  const name = await b.failure();
  assert.equal(name.step, 'node-password');
  assert.match(name.remedy ?? '', /kubectl delete node n1.*secret n1\.node-password\.k3s.*--with-node-id/);
  assert.ok(!b.said().includes((await readFile(b.options.paths.password, 'utf8')).trim()));
  server.passwords.clear();

  for (const [status, step] of [
    [403, 'forbidden'],
    [503, 'not-ready'],
    [429, 'not-ready'],
    [500, 'server-error'],
    [404, 'server-error'],
  ] as const) {
    server.intercept = (s) => (s.path === '/v1-k3s/config' ? { status, body: 'why not' } : undefined);
    const failure = await (await board(t, server.url, { token: server.token })).failure();
    assert.equal(failure.step, step);
    assert.match(failure.message, /why not/);
  }
});

test('garbage from the server fails the try, not the agent', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const bodies = ['', '{', '[]', 'null', '<html>', '{"ClusterIPRange":{"IP":"x"}}', 'x'.repeat(5_000_000)];
  for (const body of bodies) {
    server.intercept = (s) => (s.path === '/v1-k3s/config' ? { status: 200, body } : undefined);
    await (await board(t, server.url, { token: server.token })).failure();
  }
  server.intercept = (s) => (s.method === 'POST' ? { status: 200, body: server.ca.cert } : undefined);
  const failure = await (await board(t, server.url, { token: server.token })).failure();
  assert.match(failure.message, /no usable client-kubelet certificate/);
});

test('a server that starts slowly is joined as soon as it is ready', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  let left = 2;
  server.intercept = (s) =>
    s.path === '/v1-k3s/config' && left-- > 0 ? { status: 503, body: 'not ready' } : undefined;
  const b = await board(t, server.url, { token: server.token });
  const from = performance.now();
  await b.join();
  assert.ok(performance.now() - from < 3_000);
  assert.equal(b.said().match(/warn can not join/g)?.length, 1, 'the same failure is logged once');
});

test('the token file is read again at each try, and may come later', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, {});
  const tokenFile = `${b.options.paths.nodeDir}-token`;
  const steps: string[] = [];
  const onProgress = (p: JoinProgress) => {
    if (p.phase !== 'failed') return;
    steps.push(p.failure.message);
    void writeFile(tokenFile, steps.length === 1 ? 'K10cut' : `${server.token}\n`);
  };
  await b.join({ tokenFile, onProgress });
  assert.match(steps[0]!, /is not there/);
  assert.match(steps[1]!, /no password part/);
});

test('without a token and a certificate it says so, and with a certificate alone it joins', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const none = await (await board(t, server.url)).failure();
  assert.equal(none.step, 'token');
  await (await b.join()).serving;
  const joined = await b.join({ token: undefined });
  assert.equal(joined.reused.length, 4);
});

test('a serving certificate that does not come with the join comes later', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  let left = 1;
  server.intercept = (s) => (s.path.includes('serving') && left-- > 0 ? { status: 503, body: 'busy' } : undefined);
  const joined = await (await board(t, server.url, { token: server.token })).join();
  assert.match((await joined.serving).cert, /BEGIN CERTIFICATE/);
});

/** The next renewal, within 20 s. */
function nextRenewal(renewer: ReturnType<typeof createRenewer>): Promise<Renewal> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('no renewal')), 20_000);
    const off = renewer.onRenewed((renewal) => {
      clearTimeout(timer);
      off();
      resolve(renewal);
    });
  });
}

test('certificates are renewed before they end, while running', async (t) => {
  const server = await startSupervisor({ issueDays: 4 / 86_400 });
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const joined = await b.join();
  await joined.serving;
  server.nodes.add('n1');
  const renewer = createRenewer(b.options, joined);
  t.after(() => renewer.stop());
  renewer.onRenewed(() => {
    throw new Error('this part can not take a new certificate');
  });
  await renewer.start(new AbortController().signal);
  const { joined: fresh, certificates } = await nextRenewal(renewer);
  assert.ok(certificates.includes('client-kubelet'));
  assert.equal(renewer.current, fresh);
  assert.equal(fresh.certificates['client-kubelet'].key, joined.certificates['client-kubelet'].key, 'the key stays');
  await fresh.persisted;
  const onDisk = await readFile(b.options.paths.cert('client-kubelet'), 'utf8');
  assert.equal(onDisk, fresh.certificates['client-kubelet'].cert);
});

test('a new address gets into the serving certificate at once', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  const joined = await b.join();
  await joined.serving;
  const options = { ...b.options, nodeIps: ['10.9.8.7', '10.9.8.8'] };
  const renewer = createRenewer(options, joined);
  t.after(() => renewer.stop());
  await renewer.start(new AbortController().signal);
  const renewed = nextRenewal(renewer);
  renewer.poke('the addresses changed');
  const { serving, certificates } = await renewed;
  assert.deepEqual(certificates, ['serving-kubelet']);
  assert.ok(new X509Certificate(serving.cert).checkIP('10.9.8.8'));
});

test('a board whose stored certificates are used still has its password checked', async (t) => {
  const server = await startSupervisor();
  t.after(() => server.close());
  const b = await board(t, server.url, { token: server.token });
  await (await b.join()).serving;
  server.nodes.add('n1');
  server.passwords.set('n1', 'the password of a board that took the name');
  const joined = await b.join();
  assert.equal(joined.reused.length, 4);
  const heard = new Promise<void>((resolve) => {
    const log = {
      ...b.options.log,
      warn: (_: string, f?: object) => /another password/.test(JSON.stringify(f)) && resolve(),
    };
    const renewer = createRenewer({ ...b.options, log }, joined);
    t.after(() => renewer.stop());
    void renewer.start(new AbortController().signal);
  });
  await heard;
});

test('stopping ends a join that can not succeed', async (t) => {
  const server = await startSupervisor();
  await server.close();
  const b = await board(t, server.url, { token: PASSWORD });
  const stop = new AbortController();
  const run = createJoin({ ...b.options, onProgress: (p) => p.phase === 'failed' && stop.abort() }).run(stop.signal);
  await assert.rejects(run, { name: 'AbortError' });
});

test('a retry asked for from outside cuts the pause short, but not that of a server that said no', async (t) => {
  const gone = await startSupervisor();
  await gone.close();
  const server = await startSupervisor();
  t.after(() => server.close());
  for (const [url, token, soon] of [
    [gone.url, PASSWORD, true],
    [server.url, 'wrong-password', false],
  ] as const) {
    const b = await board(t, url, { token });
    const stop = new AbortController();
    const times: number[] = [];
    const join = createJoin({
      ...b.options,
      random: () => 0.99,
      onProgress(p) {
        if (p.phase !== 'failed') return;
        times.push(performance.now());
        // The pause that begins now lasts over two seconds in both cases.
        if (p.attempt === (soon ? 4 : 1)) setTimeout(() => join.retry(), 10);
        if (p.attempt === (soon ? 5 : 2)) stop.abort();
      },
    });
    await assert.rejects(join.run(AbortSignal.any([stop.signal, AbortSignal.timeout(20_000)])));
    assert.equal(times.at(-1)! - times.at(-2)! < 1_500, soon);
  }
});

test('a proxy that does not let through, or is not there, is named', async (t) => {
  const proxy = createServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')));
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const server = await startSupervisor();
  await server.close();
  const b = await board(t, server.url, { token: PASSWORD, proxy: `http://user:proxypass@${address}` });
  const refused = await b.failure();
  assert.equal(refused.step, 'proxy');
  assert.match(refused.message, new RegExp(`${address} does not connect to .*403`));
  await new Promise((resolve) => proxy.close(resolve));
  const gone = await b.failure();
  assert.equal(gone.step, 'proxy');
  assert.match(gone.message, /can't be reached/);
  assert.ok(!b.said().includes('proxypass'));
});
