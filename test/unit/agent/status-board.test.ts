import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusBoard } from '../../../src/agent/status-board.ts';
import type { AgentConfig } from '../../../src/config/index.ts';
import { systemClock } from '../../../src/core/index.ts';
import type { Notifier } from '../../../src/host/index.ts';
import { JoinFailure } from '../../../src/join/failure.ts';
import type { Joined } from '../../../src/join/index.ts';

test('the last failure to join stays in sight while the next try is on its way', () => {
  const told: string[] = [];
  const notifier = { status: (text: string) => told.push(text) } as unknown as Notifier;
  const config = { server: 'https://s:6443', nodeIps: [] as readonly string[] } as AgentConfig;
  const board = new StatusBoard({ config, clock: systemClock, notifier });
  const join = () => board.collect().parts.find((part) => part.name === 'join');

  board.joining({ phase: 'trying', attempt: 1 });
  assert.equal(join()?.state, 'waiting');
  const failure = new JoinFailure({ step: 'tcp', message: 'no connection to https://s:6443', remedy: 'check that' });
  board.joining({ phase: 'failed', attempt: 1, failure, retryInMs: 2_000 });
  board.joining({ phase: 'trying', attempt: 2 });
  assert.deepEqual(join(), {
    name: 'join',
    state: 'failed',
    summary: 'failed at step tcp, try 1; try 2 is on its way',
    lastError: 'no connection to https://s:6443',
    remedy: 'check that',
  });
  assert.deepEqual(told, ['joining https://s:6443', 'can not join https://s:6443: no connection to https://s:6443']);
  board.joining({ phase: 'joined', attempt: 2, joined: {} as Joined });
  assert.deepEqual(join(), { name: 'join', state: 'ok', summary: 'joined at try 2' });
});
