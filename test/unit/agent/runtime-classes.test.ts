import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { runtimeClassHandlers } from '../../../src/agent/runtime-classes.ts';
import { type KubeClient, KubeError } from '../../../src/kube/index.ts';

const { signal } = new AbortController();

describe('runtime classes', () => {
  let dir: string;
  let answer: () => { handler?: string };
  const client = { get: async () => answer() } as unknown as KubeClient;
  const make = () => runtimeClassHandlers({ client, path: join(dir, 'classes.json') });
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kat-classes-'));
  });
  after(() => rm(dir, { recursive: true }));

  it('are asked for, held while the server is away, also after a restart, and gone when it says so', async () => {
    answer = () => ({ handler: 'crun' });
    assert.equal(await make()('fast', signal), 'crun');
    answer = () => {
      throw new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'no route to host' });
    };
    const later = make();
    assert.equal(await later('fast', signal), 'crun');
    await assert.rejects(later('other', signal), {
      code: 'RUNTIME_CLASS',
      message: 'failed to lookup RuntimeClass other: no route to host',
    });
    answer = () => {
      throw new KubeError({ status: 404, message: 'runtimeclasses.node.k8s.io "fast" not found' });
    };
    await assert.rejects(later('fast', signal), { message: 'runtimeclass.node.k8s.io "fast" not found' });
    answer = () => {
      throw new KubeError({ status: 500, message: 'later' });
    };
    await assert.rejects(make()('fast', signal), { message: 'failed to lookup RuntimeClass fast: later' });
  });
});
