import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AgentStatus, duration, isHealthy, renderBoard, renderStatus } from '../../../src/agent/status.ts';

test('a status shows what fails, why, and what to do', () => {
  const status: AgentStatus = {
    version: '1',
    pid: 7,
    startedAt: '2026-01-01T00:00:00Z',
    nodeName: 'shop-1',
    nodeIps: ['10.0.0.2'],
    server: 'https://s:6443',
    healthy: false,
    parts: [
      { name: 'join', state: 'ok', summary: 'joined' },
      {
        name: 'tunnels',
        state: 'failed',
        summary: '0 of 1 open',
        details: ['10.0.0.1:6443 closed'],
        lastError: 'no pong',
        remedy: 'check the link',
      },
    ],
  };
  const text = renderStatus(status, Date.parse('2026-01-01T02:03:00Z'));
  assert.match(text, /shop-1 \(10\.0\.0\.2\) at https:\/\/s:6443: NOT healthy/);
  assert.match(text, /up 2h3m/);
  assert.match(
    text,
    /FAIL {2}tunnels .*0 of 1 open\n +10\.0\.0\.1:6443 closed\n +error: no pong\n +what to do: check the link/,
  );
  assert.equal(isHealthy(status.parts), false);
  assert.deepEqual([0, 59_000, 3_600_000, 90_000_000].map(duration), ['0s', '59s', '1h', '1d1h']);
});

test('the board is one line, whatever can not be read', () => {
  assert.equal(renderBoard({}), '\nboard: unknown board\n');
  assert.equal(
    renderBoard({
      model: 'Raspberry Pi 5',
      temperature: 61.4,
      memory: { total: 2e9, available: 3e8 },
      disk: { type: 'ext4', total: 3e10, available: 4.2e9 },
    }),
    '\nboard: Raspberry Pi 5, 61 °C, memory 300 MB of 2.0 GB free, ext4 4.2 GB of 30.0 GB free\n',
  );
});
