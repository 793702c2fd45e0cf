import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { AgentError, systemClock } from '../../../../src/core/index.ts';
import type { Exec } from '../../../../src/host/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { createCgroupManager } from '../../../../src/kubelet/cgroups/index.ts';

const signal = new AbortController().signal;
let mount: string;
before(async () => {
  mount = await mkdtemp(join(tmpdir(), 'kat-slices-'));
});
after(() => rm(mount, { recursive: true }));

it('asks systemd for slices with their bounds, and sets them on those that are there', async () => {
  const calls: string[] = [];
  const exec: Exec = {
    async run(argv) {
      const call = argv.slice(6).join(' ');
      calls.push(call);
      if (call.startsWith('StartTransientUnit') && call.includes('-podthere.slice'))
        throw new AgentError({ code: 'EXEC_FAILED', message: 'Unit was already loaded' });
      return { code: 0, stdout: '', stderr: '' };
    },
  };
  const manager = createCgroupManager({
    version: 2,
    driver: 'systemd',
    mount,
    exec,
    clock: systemClock,
    cpuCfsQuota: true,
  });
  await manager.start(signal);
  assert.equal(calls.length, 3);
  assert.match(
    calls[2] as string,
    /^StartTransientUnit ssa\(sv\)a\(sa\(sv\)\) kubepods-besteffort\.slice fail 5 DefaultDependencies b false .* CPUWeight t 1 0$/,
  );
  const limits = { cpu: '1', memory: '1Mi' };
  const make = (uid: string, resources: object) =>
    ({
      metadata: { name: 'p', namespace: 'n', uid },
      spec: { containers: [{ name: 'c', resources }] },
    }) as unknown as Pod;
  calls.length = 0;
  await manager.ensure(make('be', {}), signal);
  assert.deepEqual(calls, [], 'a pod without bounds costs no process');
  await manager.ensure(make('there', { limits, requests: limits }), signal);
  assert.equal(
    calls[1],
    'SetUnitProperties sba(sv) kubepods-podthere.slice true 3 CPUWeight t 39 CPUQuotaPerSecUSec t 1000000 MemoryMax t 1048576',
  );
});
