import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuntimeService } from '../../../../src/cri/types.ts';
import { createProbeRunner } from '../../../../src/kubelet/pods/probes/runner.ts';
import type { HealthChange, ProbeTarget } from '../../../../src/kubelet/pods/probes/types.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { makePod } from '../../../fakes/pods.ts';

test('the others go on after a startup probe that was asked while the pod was looked at anew', async () => {
  const clock = new FakeClock();
  const answers: (() => void)[] = [];
  const asked: string[] = [];
  const runtime = {
    execSync: (_id: string, [command = '']: readonly string[]) => {
      asked.push(command);
      return new Promise((resolve) =>
        answers.push(() => resolve({ exitCode: 0, stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) })),
      );
    },
  } as unknown as RuntimeService;
  const runner = createProbeRunner({ runtime, recorder: { event: () => {} }, clock });
  const spec = {
    name: 'main',
    startupProbe: { exec: { command: ['startup'] } },
    livenessProbe: { exec: { command: ['liveness'] } },
    readinessProbe: { exec: { command: ['readiness'] } },
  };
  const changes: HealthChange[] = [];
  const look = (started: boolean) =>
    runner.watch(
      'u',
      [
        {
          pod: makePod('p'),
          container: { kind: 'app', spec },
          observed: { id: 'c', startedAt: clock.now() },
          started,
        } as unknown as ProbeTarget,
      ],
      (_id, change) => changes.push(change),
    );

  look(false);
  await clock.advance(100);
  assert.deepEqual(asked, ['startup']);
  look(false);
  answers.shift()?.();
  await settle();
  assert.deepEqual(changes, [{ started: true }], 'not ready yet: the readiness probe has that word');
  look(true);
  await clock.advance(11_000);
  assert.deepEqual(asked.slice(1).sort(), ['liveness', 'readiness']);
  runner.forget('u');
});
