import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { type NetEvent, NetMonitor } from '../../src/host/index.ts';
import { eventually, Lab, labMissing, sh } from './flannel-lab.ts';

const missing = labMissing();
const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
const isMonitor = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('monitor\0label');

describe('the network monitor', missing ? { skip: missing } : {}, () => {
  const lab = new Lab('mon');
  after(() => lab.close());

  it('goes on after its child was killed, and asks to look at everything', async () => {
    const ns = lab.host('a', 1);
    const wrap = (argv: readonly string[]) => ['ip', 'netns', 'exec', ns, ...argv];
    const monitor = new NetMonitor({ log: silentLogger, clock: systemClock, wrap, gatherMs: 10 });
    const events: NetEvent[] = [];
    monitor.subscribe((group) => events.push(...group));
    await monitor.start(new AbortController().signal);
    const child = () => children(process.pid).find(isMonitor);
    const saw = (address: string) => events.some((e) => e.kind === 'address' && e.subject === address);
    await eventually('it listens', () => events.some((e) => e.kind === 'resync'));
    sh('ip', '-n', ns, 'address', 'add', '10.98.0.1/24', 'dev', 'eth0');
    await eventually('event', () => saw('10.98.0.1/24'));
    const first = child() as number;
    events.length = 0;
    process.kill(first, 'SIGKILL');
    await eventually('resync', () => events.some((e) => e.kind === 'resync'));
    sh('ip', '-n', ns, 'address', 'add', '10.98.0.2/24', 'dev', 'eth0');
    await eventually('event of the new child', () => saw('10.98.0.2/24'));
    await monitor.stop();
    assert.equal(child(), undefined);
  });

  it('leaves no process behind when the agent is killed', async () => {
    const src = join(import.meta.dirname, '../../src');
    const script = `import { NetMonitor } from '${src}/host/index.ts';
      import { silentLogger as log, systemClock as clock } from '${src}/core/index.ts';
      await new NetMonitor({ log, clock }).start(new AbortController().signal); setInterval(() => {}, 1e6);`;
    const agent = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: 'ignore' });
    const pid = agent.pid as number;
    const child = () => children(pid).find(isMonitor);
    await eventually('the child runs', () => child() !== undefined);
    const monitor = child();
    agent.kill('SIGKILL');
    await eventually(
      'the child is gone',
      () => !existsSync(`/proc/${monitor}/cmdline`) || readFileSync(`/proc/${monitor}/cmdline`, 'utf8') === '',
    );
  });
});
