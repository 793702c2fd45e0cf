import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AgentStatus } from '../../../src/agent/status.ts';
import { createStatusServer, fetchStatus } from '../../../src/agent/status-socket.ts';

test('a second agent ends before it touches anything of the first', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'kat-status-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'agent.sock');
  const { signal } = new AbortController();
  const server = (pid: number) => createStatusServer(() => ({ pid }) as AgentStatus, path);
  const first = server(1);
  await first.start(signal);
  await assert.rejects(server(2).start(signal), { code: 'AGENT_RUNNING' });
  assert.equal((await fetchStatus(path)).pid, 1);
  await first.stop();
  // What a killed agent leaves.
  await writeFile(path, '');
  const third = server(3);
  await third.start(signal);
  assert.equal((await fetchStatus(path)).pid, 3);
  await third.stop();
});
