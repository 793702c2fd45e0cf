import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { NodeShutdown, shutdownGroups } from '../../../../src/kubelet/index.ts';
import { podsByGroup } from '../../../../src/kubelet/shutdown/groups.ts';
import { settle } from '../../../fakes/clock.ts';
import { FakeNode } from '../../../fakes/pod-node.ts';
import { makePod } from '../../../fakes/pods.ts';

const CRITICAL = 2_000_000_000;

test('the two grace periods become two groups, pods go with the highest group not above them', () => {
  const groups = shutdownGroups({ gracePeriodMs: 30_000, criticalPodsMs: 10_000, byPriority: [] });
  assert.deepEqual(groups, [
    { priority: 0, seconds: 20 },
    { priority: CRITICAL, seconds: 10 },
  ]);
  const names = (priorities: (number | undefined)[]) =>
    podsByGroup(
      groups,
      priorities.map((priority) => makePod(String(priority), priority === undefined ? {} : { priority })),
    ).map(({ pods }) => pods.map((pod) => pod.metadata.name).join());
  assert.deepEqual(names([undefined, -5, 0, 7, CRITICAL, CRITICAL + 1]), [
    'undefined,-5,0,7',
    `${CRITICAL},${CRITICAL + 1}`,
  ]);
  assert.deepEqual(shutdownGroups({ gracePeriodMs: 0, criticalPodsMs: 0, byPriority: [] }), []);
  const own = [
    { priority: 100, seconds: 5 },
    { priority: 0, seconds: 7 },
  ];
  assert.deepEqual(
    shutdownGroups({ gracePeriodMs: 0, criticalPodsMs: 0, byPriority: own }).map(({ priority }) => priority),
    [0, 100],
  );
});

/** logind in memory. */
class Logind {
  delayMs = 5_000;
  grants = Number.POSITIVE_INFINITY;
  locks = 0;
  asked: number[] = [];
  connections = 0;
  tell: (begins: boolean) => void = () => {};
  #lose: (why: string) => void = () => {};
  lose(): void {
    this.#lose('gone');
  }
  async connect() {
    this.connections++;
    return {
      inhibitDelayMs: async () => this.delayMs,
      requestInhibitDelay: async (ms: number) => {
        this.asked.push(ms);
        this.delayMs = Math.min(ms, this.grants);
      },
      onShutdown: async (handler: (begins: boolean) => void) => {
        this.tell = handler;
      },
      closed: new Promise<string>((resolve) => {
        this.#lose = resolve;
      }),
      close: () => this.#lose('closed'),
    };
  }
  refuses = false;
  /** Ends the holder of the last lock. */
  kill: () => void = () => {};
  async inhibit() {
    if (this.refuses) throw new Error('no such lock');
    this.locks++;
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    let released = false;
    const release = () => {
      if (!released) this.locks--;
      released = true;
      end();
    };
    this.kill = release;
    return { release, ended };
  }
}

async function board(
  byPriority = [
    { priority: 0, seconds: 20 },
    { priority: CRITICAL, seconds: 10 },
  ],
) {
  const logind = new Logind();
  const events: string[] = [];
  const changes: boolean[] = [];
  const node = new FakeNode();
  const shutdown = new NodeShutdown({
    groups: byPriority,
    connect: () => logind.connect(),
    inhibit: () => logind.inhibit(),
    pods: {
      active: () => node.manager.active(),
      evict: (uid, eviction, signal) => node.manager.evict(uid, eviction, signal),
      whenQuiet: (signal) => node.manager.whenQuiet(signal),
    },
    changed: () => changes.push(shutdown.shuttingDown),
    event: ({ message }) => events.push(message),
    clock: node.clock,
    log: silentLogger,
  });
  await node.start();
  await shutdown.start(new AbortController().signal);
  await settle();
  return { logind, node, shutdown, events, changes };
}

test('pods end by priority, each within its time, then the shutdown goes on', async () => {
  const { logind, node, shutdown, events, changes } = await board();
  await node.clock.advance(5_000);
  assert.deepEqual([logind.locks, logind.asked], [1, [30_000]]);
  const killed: string[] = [];
  node.runtime.onTerm = (name) => {
    killed.push(name);
    return 'ignore';
  };
  const pod = (name: string, spec: Partial<Pod['spec']>) =>
    makePod(name, { ...spec, containers: [{ name, image: 'busybox:1', imagePullPolicy: 'IfNotPresent' }] });
  node.api.put(pod('slow', { terminationGracePeriodSeconds: 60 }));
  node.api.put(pod('quick', { terminationGracePeriodSeconds: 3 }));
  node.api.put(pod('critical', { priority: CRITICAL, terminationGracePeriodSeconds: 5 }));
  await settle();
  logind.tell(true);
  await settle();
  assert.deepEqual(changes, [true]);
  assert.deepEqual(events, ['Shutdown manager detected shutdown event']);
  await node.clock.advance(4_000);
  assert.deepEqual(node.runtime.running().sort(), ['critical', 'slow']);
  assert.deepEqual(killed.sort(), ['quick', 'slow']);
  await node.clock.advance(17_000);
  assert.ok(killed.includes('critical'), 'the next group begins when the first one has used its time');
  assert.equal(logind.locks, 1);
  await node.clock.advance(10_000);
  assert.deepEqual(node.runtime.running(), []);
  assert.equal(logind.locks, 0, 'the shutdown goes on');
  for (const name of ['slow', 'quick', 'critical']) {
    const status = node.api.get(name)?.status;
    assert.deepEqual(
      [status?.phase, status?.reason, status?.message],
      ['Failed', 'Terminated', 'Pod was terminated in response to imminent node shutdown.'],
    );
    const condition = status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.equal(condition?.reason, 'TerminationByKubelet');
    assert.equal(condition?.message, 'Pod was terminated in response to imminent node shutdown.');
  }
  assert.ok(!node.recorder.reasons().includes('Terminated'));
  await shutdown.stop();
});

test('a group without pods costs no time', async () => {
  const { logind, node } = await board();
  node.api.put(makePod('critical', { priority: CRITICAL, terminationGracePeriodSeconds: 1 }));
  await node.clock.advance(5_000);
  logind.tell(true);
  await node.clock.advance(3_000);
  assert.equal(logind.locks, 0);
});

test('a shutdown that is called off leaves the pods that still run, and is waited for again', async () => {
  const { logind, node, changes, events } = await board();
  node.runtime.onTerm = () => 'ignore';
  node.api.put(makePod('first', { terminationGracePeriodSeconds: 60 }));
  node.api.put(makePod('critical', { priority: CRITICAL }));
  await node.clock.advance(5_000);
  logind.tell(true);
  await node.clock.advance(2_000);
  logind.tell(false);
  await node.clock.advance(60_000);
  assert.deepEqual(changes, [true, false]);
  assert.equal(events[1], 'Shutdown manager detected shutdown cancellation');
  assert.equal(node.api.get('critical')?.status?.phase, 'Running');
  assert.equal(logind.locks, 1);
});

test('without logind it says so and tries again, a lost connection is made anew', async () => {
  const { logind, node, shutdown } = await board();
  await node.clock.advance(1_000);
  logind.lose();
  await node.clock.advance(3_000);
  assert.equal(logind.connections, 2);
  assert.equal(logind.locks, 1);
  logind.grants = 10_000;
  logind.delayMs = 10_000;
  logind.lose();
  await node.clock.advance(8_000);
  assert.match(shutdown.lastError ?? '', /grants 10 s \(InhibitDelayMaxSec\), 30 s are asked for/);
  await shutdown.stop();
  assert.equal(logind.locks, 0);
});

test('a lock whose holder ends is taken again, also when that fails at first', async () => {
  const { logind, node, shutdown } = await board();
  await node.clock.advance(1_000);
  assert.equal(logind.locks, 1);
  logind.refuses = true;
  logind.kill();
  await node.clock.advance(2_000);
  assert.deepEqual([logind.locks, shutdown.lastError], [0, 'no such lock']);
  logind.refuses = false;
  await node.clock.advance(10_000);
  assert.deepEqual([logind.locks, shutdown.lastError], [1, undefined]);
  logind.tell(true);
  logind.refuses = true;
  await node.clock.advance(1_000);
  logind.tell(false);
  await node.clock.advance(1_000);
  logind.refuses = false;
  await node.clock.advance(10_000);
  assert.deepEqual([logind.locks, shutdown.lastError], [1, undefined]);
  await shutdown.stop();
  assert.equal(logind.locks, 0);
});
