import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCa } from '../standin/pki/certificates.ts';
import { board } from './join-support/agent.ts';
import { PASSWORD, startSupervisor } from './join-support/server.ts';

test("a server that the host's CA store vouches for is joined, whatever bundle it shows", async (t) => {
  const ca = createCa('a public CA');
  const dir = await mkdtemp(join(tmpdir(), 'kat-join-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  // Read once in the life of a process, hence this file of its own.
  process.env.SSL_CERT_FILE = join(dir, 'store.pem');
  await writeFile(process.env.SSL_CERT_FILE, ca.cert);
  const server = await startSupervisor({ ca, shownCa: createCa('k3s-server-ca@1').cert });
  t.after(() => server.close());
  for (const token of [PASSWORD, `K10${'b'.repeat(64)}::server:${PASSWORD}`]) {
    const b = await board(t, server.url, { token });
    const joined = await b.join();
    assert.equal(joined.trust.kind, 'system');
    assert.ok(joined.token.startsWith('K10::node:'), 'no CA is pinned');
    await joined.serving;
    server.passwords.clear();
  }
});
