import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import { DesiredCache } from '../../../../src/kubelet/pods/desired-cache.ts';
import { createLogLinks, readEnd } from '../../../../src/kubelet/pods/files.ts';
import { Limiter } from '../../../../src/kubelet/pods/limiter.ts';
import type { ObservedContainer } from '../../../../src/kubelet/pods/model.ts';
import {
  crashEntry,
  goDuration,
  nextCrashDelay,
  restartAt,
  shouldRestart,
} from '../../../../src/kubelet/pods/restart.ts';
import { RuntimeView } from '../../../../src/kubelet/pods/runtime-view.ts';
import { lastWords, terminationMessage } from '../../../../src/kubelet/pods/termination.ts';
import { FakeClock, settle } from '../../../fakes/clock.ts';
import { FakeMaterials, makePod } from '../../../fakes/pods.ts';
import { FakeRuntime } from '../../../fakes/runtime.ts';

const POLICY = 'io.kubernetes.container.terminationMessagePolicy';
const never = new AbortController().signal;

describe('slots', () => {
  it('go to the most urgent, then the oldest; an aborted waiter is forgotten', async () => {
    const limiter = new Limiter(1);
    const order: string[] = [];
    const abort = new AbortController();
    let release = () => {};
    const first = limiter.run(
      1,
      () =>
        new Promise<void>((resolve) => {
          release = resolve;
        }),
      never,
    );
    const others = [
      limiter.run(1, async () => void order.push('begin 1'), never),
      limiter.run(1, async () => void order.push('gone'), abort.signal).catch(() => 'aborted'),
      limiter.run(1, async () => void order.push('begin 2'), never),
      limiter.run(0, async () => void order.push('continue'), never),
    ];
    abort.abort();
    await settle();
    const idle = limiter.idle(never);
    release();
    await Promise.all([first, ...others, idle]);
    assert.deepEqual(order, ['continue', 'begin 1', 'begin 2']);
  });

  it('are given back by work that fails', async () => {
    const limiter = new Limiter(1);
    await assert.rejects(limiter.run(0, () => Promise.reject(new Error('x')), never));
    assert.equal(await limiter.run(0, async () => 1, never), 1);
  });
});

describe('the view of the runtime', () => {
  async function setUp() {
    const clock = new FakeClock();
    const runtime = new FakeRuntime(clock);
    const changed: string[] = [];
    const view = new RuntimeView({
      runtime: runtime.service,
      clock,
      log: silentLogger,
      changed: (uid) => changed.push(uid),
    });
    const materials = new FakeMaterials();
    const pod = makePod('a', {}, { uid: 'u' });
    const { config } = await materials.sandbox(pod, 0);
    const sandboxId = await runtime.runPodSandbox(config);
    const request = { pod, container: { name: 'main' }, restartCount: 0, image: { ref: 'x' } };
    const id = await runtime.createContainer(sandboxId, (await materials.container(request)).config);
    await runtime.startContainer(id);
    return { clock, runtime, view, changed, sandboxId, id };
  }

  it('asks for details of what is new only', async () => {
    const { runtime, view, id } = await setUp();
    await view.resync();
    assert.equal(view.get('u').containers[0]?.state, 'running');
    assert.deepEqual([runtime.count('containerStatus'), runtime.count('podSandboxStatus')], [1, 1]);
    await view.resync();
    assert.deepEqual([runtime.count('containerStatus'), runtime.count('podSandboxStatus')], [1, 1]);
    runtime.exit(id, 1);
    await view.handle({ type: 'container', kind: 'exited', containerId: id });
    await view.handle({ type: 'container', kind: 'exited', containerId: id });
    assert.equal(runtime.count('containerStatus'), 2);
    assert.equal(view.get('u').containers[0]?.exitCode, 1);
    await view.handle({ type: 'container', kind: 'exited', containerId: 'stranger' });
    assert.equal(runtime.count('containerStatus'), 2);
  });

  it('looks again until the runtime has noted an exit that it was told of early', async () => {
    const { clock, runtime, view, sandboxId, id } = await setUp();
    await view.resync();
    const early = { type: 'container', kind: 'exited', early: true } as const;
    const handled = view.handle({ ...early, containerId: id });
    await clock.advance(100);
    assert.equal(view.get('u').containers[0]?.state, 'running');
    runtime.exit(id, 1);
    await clock.advance(100);
    assert.equal(await handled, true);
    assert.equal(view.get('u').containers[0]?.exitCode, 1);
    const asked = runtime.count('containerStatus');
    await clock.advance(10_000);
    assert.equal(runtime.count('containerStatus'), asked);

    // One that never shows is not asked about for ever.
    const never = view.handle({ ...early, containerId: sandboxId });
    await clock.advance(10_000);
    assert.equal(await never, true);
    assert.ok(runtime.count('podSandboxStatus') < 20);
  });

  it('asks nothing about exits of its own making', async () => {
    const { clock, runtime, view, id } = await setUp();
    await view.resync();
    const asked = runtime.count('containerStatus');
    await view.during(id, async () => {
      runtime.exit(id, 0);
      await view.handle({ type: 'container', kind: 'exited', containerId: id, early: true });
      await clock.advance(10_000);
    });
    assert.equal(runtime.count('containerStatus'), asked);
  });

  it('finds the exit of a container that was over before its start had returned', async () => {
    const { clock, runtime, view, id } = await setUp();
    await view.resync();
    await view.during(id, async () => {
      await view.handle({ type: 'container', kind: 'exited', containerId: id, early: true });
    });
    // The runtime has not written the exit down when we look, and tells nothing afterwards.
    assert.equal((await view.lookAtContainer(id))?.state, 'running');
    runtime.exit(id, 3);
    await clock.advance(500);
    assert.equal(view.get('u').containers[0]?.exitCode, 3);
    const asked = runtime.count('containerStatus');
    await clock.advance(10_000);
    assert.equal(runtime.count('containerStatus'), asked);
  });

  it('looks no second time at an exit of its own making that it saw', async () => {
    const { clock, runtime, view, id } = await setUp();
    await view.resync();
    await view.during(id, async () => {
      await view.handle({ type: 'container', kind: 'exited', containerId: id, early: true });
      runtime.exit(id, 0);
    });
    await view.lookAtContainer(id);
    const asked = runtime.count('containerStatus');
    await clock.advance(10_000);
    assert.equal(runtime.count('containerStatus'), asked);
  });

  it('forgets what is gone, keeps what was entered while it listed', async () => {
    const { runtime, view, sandboxId, id } = await setUp();
    await view.resync();
    runtime.intercept = (call) => {
      if (call !== 'listContainers') return;
      view.putContainer({ uid: 'u', namespace: 'default', name: 'a' }, {
        ...(view.get('u').containers[0] as never as object),
        id: 'new',
        name: 'new',
      } as never);
    };
    await view.resync();
    assert.deepEqual(
      view
        .get('u')
        .containers.map((c) => c.id)
        .sort(),
      [id, 'new'].sort(),
    );
    runtime.intercept = () => {};
    await runtime.removePodSandbox(sandboxId);
    await view.resync();
    assert.deepEqual(view.pods(), []);
  });

  it('an answer that was overtaken does not bring a container back to life', async () => {
    const { runtime, view, id } = await setUp();
    await view.resync();
    const running = view.get('u').containers[0];
    assert.ok(running);
    runtime.exit(id, 1);
    await view.handle({ type: 'container', kind: 'exited', containerId: id });
    view.putContainer({ uid: 'u', namespace: 'default', name: 'a' }, running);
    assert.equal(view.get('u').containers[0]?.state, 'exited');
  });
});

describe('restarts', () => {
  it('follow the policy of the pod, of the container and its rules', () => {
    const pod = (restartPolicy: string) => makePod('p', { restartPolicy });
    const app = (over = {}) => ({ kind: 'app' as const, spec: { name: 'a', ...over } });
    const table: [string, object, number, boolean][] = [
      ['Always', {}, 0, true],
      ['OnFailure', {}, 0, false],
      ['OnFailure', {}, 1, true],
      ['Never', {}, 1, false],
      ['Never', { restartPolicy: 'Always' }, 0, true],
      ['Always', { restartPolicy: 'Never' }, 1, false],
      ['Never', { restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }] }, 42, true],
      [
        'Never',
        { restartPolicyRules: [{ action: 'Restart', exitCodes: { operator: 'NotIn', values: [42] } }] },
        42,
        false,
      ],
    ];
    for (const [policy, over, code, expected] of table)
      assert.equal(shouldRestart(pod(policy), app(over), code), expected, JSON.stringify([policy, over, code]));
  });

  it('count their pause anew after ten quiet minutes', () => {
    const main = { name: 'main', image: 'a' };
    const once = nextCrashDelay(main, undefined, { exitedAt: 0, now: 0 });
    const twice = nextCrashDelay(main, once, { exitedAt: 500, now: 1_000 });
    assert.deepEqual([once.delayMs, twice.delayMs], [10_000, 20_000]);
    assert.equal(restartAt(twice, 5_000), 25_000);
    assert.equal(restartAt(twice, 700_000), 0, 'it ran well for ten minutes: a first crash');
    assert.equal(nextCrashDelay(main, twice, { exitedAt: 700_000, now: 700_000 }).delayMs, 10_000);
    assert.equal(nextCrashDelay(main, twice, { exitedAt: 5_000, now: 700_000 }).delayMs, 40_000);
    assert.equal(nextCrashDelay(main, undefined, { exitedAt: 0, now: 0, maxMs: 5_000 }).delayMs, 5_000);
    const memory = { crash: new Map([['main', twice]]) };
    assert.equal(crashEntry(memory, main), twice);
    assert.equal(crashEntry(memory, { ...main, image: 'b' }), undefined, 'another image is another try');
  });

  it('print durations as Go does', () => {
    assert.deepEqual([10_000, 80_000, 300_000, 3_600_000].map(goDuration), ['10s', '1m20s', '5m0s', '1h0m0s']);
  });
});

describe('last words', () => {
  it('are the end of the log, without its times', () => {
    const log =
      '2026-11-24T10:00:00Z stdout F one\n2026-11-24T10:00:00Z stderr P two \n2026-11-24T10:00:00Z stderr F three\n';
    const words = (text: string) => lastWords(Buffer.from(text)).text;
    assert.equal(words(log), 'one\ntwo three\n');
    const long = '2026-11-24T10:00:00Z stdout F line\n'.repeat(500);
    assert.equal(words(long).split('\n').length, 81);
    assert.equal(words(`2026-11-24T10:00:00Z stdout F ${'x'.repeat(10_000)}\n`).length, 2048);
    assert.equal(Buffer.byteLength(words(`2026-11-24T10:00:00Z stdout F ${'é'.repeat(3_000)}.\n`)), 2048);
  });

  it('are not read through a link a container left there', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-pods-'));
    await writeFile(join(dir, 'secret'), 'secret');
    await symlink(join(dir, 'secret'), join(dir, 'link'));
    assert.equal((await readEnd(join(dir, 'secret'), 3)).toString(), 'ret');
    assert.equal((await readEnd(join(dir, 'link'), 100)).length, 0);
    await assert.rejects(readEnd(join(dir, 'none'), 100), { code: 'ENOENT' });
    await assert.rejects(readEnd(dir, 100), { message: `read ${dir}: is a directory` });
    await writeFile(join(dir, 'secret'), '2026-11-24T10:00:00Z stderr F from the log\n');
    const failed = { exitCode: 1, reason: 'Error', annotations: { [POLICY]: 'FallbackToLogsOnError' } };
    const words = (logPath: string) => terminationMessage({ ...failed, logPath } as unknown as ObservedContainer, []);
    assert.equal(await words(join(dir, 'secret')), 'from the log\n');
    assert.equal(await words(join(dir, 'link')), '');
    assert.equal(await words(join(dir, 'none')), '');
    await rm(dir, { recursive: true });
  });
});

describe('links to logs', () => {
  it('are made, removed, and swept when their log and container are gone', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-pods-'));
    const links = createLogLinks(join(dir, 'containers'));
    const link = (id: string) => ({
      pod: 'p',
      namespace: 'ns',
      container: 'c',
      id: id.repeat(64),
      target: join(dir, 'none.log'),
    });
    await links.add(link('a'));
    await links.add(link('a'));
    await links.add(link('b'));
    await links.remove(link('a'));
    assert.deepEqual(await readdir(join(dir, 'containers')), [`p_ns_c-${'b'.repeat(64)}.log`]);
    await links.sweep((id) => id.startsWith('b'));
    assert.equal((await readdir(join(dir, 'containers'))).length, 1);
    await links.sweep(() => false);
    assert.deepEqual(await readdir(join(dir, 'containers')), []);
    await rm(dir, { recursive: true });
  });
});

describe('the last known pods on disk', () => {
  it('are written once for many changes, not for statuses, and read again', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'kat-pods-'));
    const path = join(dir, 'pods.json');
    const clock = new FakeClock();
    const cache = new DesiredCache({ path, clock, log: silentLogger });
    const pod = makePod('a', {}, { uid: 'u' });
    for (let i = 0; i < 100; i++) cache.set({ ...pod, status: { phase: `x${i}` } });
    cache.set(makePod('going', {}, { deletionTimestamp: '2026-11-24T10:00:00Z' }));
    await clock.advance(29_000);
    assert.deepEqual(await readdir(dir), []);
    await clock.advance(2_000);
    await cache.flush();
    const text = await readFile(path, 'utf8');
    assert.equal(text.includes('phase'), false);
    cache.set({ ...pod, status: { phase: 'other' } });
    assert.ok(clock.timers <= 1);
    await cache.flush();
    assert.equal(await readFile(path, 'utf8'), text);
    const again = await new DesiredCache({ path, clock, log: silentLogger }).load();
    assert.deepEqual(
      again.map((p) => p.metadata.name),
      ['a'],
    );
    await writeFile(path, text.slice(0, -20));
    assert.deepEqual(await new DesiredCache({ path, clock, log: silentLogger }).load(), []);
    await settle();
    await rm(dir, { recursive: true });
  });
});

describe('our own calls', () => {
  it('cost no question at the events they cause, but an exit right after them is seen', async () => {
    const clock = new FakeClock();
    const runtime = new FakeRuntime(clock);
    const view = new RuntimeView({ runtime: runtime.service, clock, log: silentLogger, changed: () => {} });
    const materials = new FakeMaterials();
    const pod = makePod('a', {}, { uid: 'u' });
    const sandboxId = await runtime.runPodSandbox((await materials.sandbox(pod, 0)).config);
    const request = { pod, container: { name: 'main' }, restartCount: 0, image: { ref: 'x' } };
    const id = await runtime.createContainer(sandboxId, (await materials.container(request)).config);
    await view.resync();
    runtime.subscribe((event) => void view.handle(event));
    const before = runtime.count('containerStatus');
    await view.during(id, () => runtime.startContainer(id));
    await settle();
    assert.equal(runtime.count('containerStatus'), before);
    const look = view.lookAtContainer(id);
    runtime.exit(id, 7);
    await look;
    await settle();
    assert.equal(view.get('u').containers[0]?.exitCode, 7);
  });
});
