import assert from 'node:assert/strict';
import { mkdir, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Logger, silentLogger, systemClock } from '../../src/core/index.ts';
import type { Cri } from '../../src/cri/index.ts';
import type { ContainerStatus, Pod, PodStatus } from '../../src/kube/index.ts';
import { ImagePuller } from '../../src/kubelet/images/index.ts';
import { createProbeRunner, PodManager } from '../../src/kubelet/pods/index.ts';
import { FakeMaterials, FakePodApi, FakeRecorder, makePod } from '../fakes/pods.ts';
import { BUSYBOX, createLab, type Lab, until, whyNot } from './cri-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);
const RUN = ['sh', '-c', 'trap "exit 143" TERM; while true; do sleep 1000 & wait; done'];

/** Workers and all with a real containerd; the API server and what lies on disk are stand-ins. */
describe('pods on a real containerd', { skip, timeout: 180_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let api: FakePodApi;
  let recorder: FakeRecorder;
  let materials: FakeMaterials;
  let manager: PodManager;
  let abort: AbortController;

  const start = async (): Promise<void> => {
    abort = new AbortController();
    const clock = systemClock;
    const log: Logger = process.env.KAT_DEBUG
      ? {
          ...silentLogger,
          debug: console.log,
          info: console.log,
          warn: console.log,
          error: console.log,
          child: () => log,
        }
      : silentLogger;
    manager = new PodManager({
      source: api,
      runtime: cri.runtime,
      events: cri.events,
      images: new ImagePuller({ images: cri.images, clock, log, secret: () => Promise.reject(new Error('none')) }),
      materials: materials.service,
      recorder,
      client: api.client,
      probes: createProbeRunner({ runtime: cri.runtime, recorder, clock }),
      nodeName: 'n1',
      hostIps: () => ['10.99.0.2'],
      serverMinor: () => 36,
      clock,
      log,
      logLinkDir: join(lab.dir, 'links'),
      slots: 2,
    });
    await manager.start(abort.signal);
  };
  /** As after kill -9: whatever was under way is cut off, nothing is told to the runtime. */
  const crash = async (): Promise<void> => {
    api.forgetSubscribers();
    abort.abort();
    await manager.stop();
  };
  const hostPod = (name: string, command: string[] = RUN, extra: Partial<Pod['spec']> = {}): Pod =>
    makePod(name, {
      hostNetwork: true,
      terminationGracePeriodSeconds: 5,
      containers: [{ name: 'main', image: BUSYBOX, imagePullPolicy: 'IfNotPresent', command }],
      ...extra,
    });
  const ready = (name: string): boolean =>
    api.get(name)?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
  const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

  before(async () => {
    lab = await createLab(process.env.CONTAINERD_BIN);
    await mkdir(join(lab.dir, 'links'));
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
    await cri.importer.imagesReady;
    api = new FakePodApi();
    recorder = new FakeRecorder();
    materials = new FakeMaterials();
    await start();
  });
  after(async () => {
    await manager?.stop();
    await lab?.end();
  });

  it('runs a pod and shows it', async () => {
    const began = performance.now();
    api.put(hostPod('one'));
    await until(() => ready('one'), 20_000);
    console.log(`one pod ready after ${Math.round(performance.now() - began)} ms, ${api.writes.length} writes`);
    const status = api.get('one')?.status;
    const [main] = status?.containerStatuses ?? [];
    assert.equal(status?.phase, 'Running');
    assert.match(main?.containerID ?? '', /^containerd:\/\/[0-9a-f]{64}$/);
    assert.equal(main?.image, BUSYBOX);
    assert.match(main?.imageID ?? '', /sha256:/);
    assert.ok(Math.abs(Date.parse(main?.state?.running?.startedAt as string) - Date.now()) < 20_000);
    assert.deepEqual(recorder.reasons('one'), ['Pulled', 'Created', 'Started']);
    const link = await until(async () => (await readdir(join(lab.dir, 'links')))[0], 5_000);
    assert.match(link, /^one_default_main-[0-9a-f]{64}\.log$/);
    assert.match(await readlink(join(lab.dir, 'links', link)), /main-0\.log$/);
  });

  it('shows a crash, an OOM-free exit code and the program that is not there', async () => {
    api.put(hostPod('crash', ['sh', '-c', 'exit 3']));
    api.put(hostPod('nosuch', ['/no/such'], { restartPolicy: 'Never' }));
    const crashed = await until(() => {
      const s = api.get('crash')?.status?.containerStatuses?.[0];
      return s?.state?.waiting?.reason === 'CrashLoopBackOff' ? s : undefined;
    }, 20_000);
    assert.equal(crashed.lastState?.terminated?.exitCode, 3);
    assert.equal(crashed.restartCount, 1);
    const failed = await until(() => {
      const { status } = api.get('nosuch') ?? {};
      return status?.phase === 'Failed' ? status.containerStatuses?.[0]?.state?.terminated : undefined;
    }, 20_000);
    assert.equal(failed.reason, 'StartError');
    assert.match(failed.message ?? '', /no such file or directory/i);
    for (const name of ['crash', 'nosuch', 'one']) api.markDeleted(name, 2);
    await until(() => api.pods.size === 0, 30_000);
    await until(async () => (await cri.runtime.listPodSandboxes()).length === 0, 20_000);
  });

  it('20 pods, the agent killed in the middle: all get ready, none twice, nothing left over', async () => {
    const all = names('k', 20);
    for (const name of all) api.put(hostPod(name));
    await until(() => all.filter(ready).length >= 5, 60_000);
    await crash();
    const alive = new Map((await cri.runtime.listContainers()).map((c) => [c.id, c.state]));
    await start();
    await until(() => all.every(ready), 60_000);
    const sandboxes = await cri.runtime.listPodSandboxes();
    const containers = await cri.runtime.listContainers();
    assert.equal(containers.filter((c) => c.state === 'CONTAINER_RUNNING').length, 20);
    const up = sandboxes.filter((s) => s.state === 'SANDBOX_READY');
    assert.equal(up.length, 20);
    assert.equal(new Set(up.map((s) => s.metadata.uid)).size, 20);
    for (const [id, state] of alive)
      if (state === 'CONTAINER_RUNNING')
        assert.ok(
          containers.some((c) => c.id === id),
          'adopted, not replaced',
        );
    const began = performance.now();
    for (const name of all) api.markDeleted(name, 5);
    await until(() => api.pods.size === 0, 60_000);
    console.log(`20 pods gone after ${Math.round(performance.now() - began)} ms`);
    await until(async () => (await cri.runtime.listPodSandboxes()).length === 0, 30_000);
    assert.equal((await cri.runtime.listContainers()).length, 0);
  });

  it('readiness and liveness by exec', async () => {
    const probe = (command: string) => ({ exec: { command: ['sh', '-c', command] }, periodSeconds: 1 });
    const pod = hostPod('probed', ['sh', '-c', 'sleep 1; echo x > /tmp/ok; sleep 2; rm /tmp/ok; sleep 1000']);
    Object.assign(pod.spec.containers[0] as object, {
      readinessProbe: probe('cat /tmp/ok'),
      livenessProbe: { ...probe('cat /tmp/ok'), initialDelaySeconds: 2, failureThreshold: 1 },
    });
    Object.assign(pod.spec, { terminationGracePeriodSeconds: 0 });
    api.put(pod);
    await until(() => ready('probed'), 20_000);
    await until(() => (api.get('probed')?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0, 30_000);
    assert.ok(recorder.events.some((e) => e.message === 'Container main failed liveness probe, will be restarted'));
    assert.ok(
      recorder.events.some((e) => e.reason === 'Unhealthy' && e.message.startsWith('Readiness probe failed: ')),
    );
  });

  it('containers that ignore TERM and leave crowds behind get two seconds, though the pod has none to give', async () => {
    const crowd =
      'trap "" TERM; i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i+1)); done; while true; do sleep 1000; done';
    api.put(hostPod('deaf', ['sh', '-c', crowd]));
    await until(() => ready('deaf'), 20_000);
    const began = performance.now();
    api.markDeleted('deaf', 0);
    await until(() => api.get('deaf') === undefined, 20_000);
    assert.ok(performance.now() - began >= 1_900);
    const last = api.writes.filter((w) => w.name === 'deaf' && w.verb === 'patch').at(-1);
    assert.match(JSON.stringify(last?.body), /"exitCode":137/);
  });

  it('sidecars: up before the others, their hooks at once, gone last', async () => {
    const sidecar = { name: 'side', image: BUSYBOX, command: RUN, restartPolicy: 'Always' };
    const pod = hostPod('sided', RUN, { initContainers: [sidecar] as never, restartPolicy: 'Never' });
    api.put(pod);
    await until(() => ready('sided'), 20_000);
    const started = (name: string) =>
      recorder.events.findIndex(
        (e) => e.name === 'sided' && e.reason === 'Started' && e.fieldPath?.includes(`{${name}}`),
      );
    assert.ok(started('side') < started('main'));
    api.markDeleted('sided', 10);
    await until(() => api.get('sided') === undefined, 20_000);
    const last = api.writes.filter((w) => w.name === 'sided' && w.verb === 'patch').at(-1)?.body as {
      status: PodStatus;
    };
    const ended = (list: ContainerStatus[] | undefined) => list?.[0]?.state?.terminated;
    const [side, main] = [ended(last.status.initContainerStatuses), ended(last.status.containerStatuses)];
    assert.deepEqual([side?.exitCode, main?.exitCode], [143, 143]);
    assert.ok(String(side?.finishedAt) >= String(main?.finishedAt));
  });

  it('a probe that can not be started and a hook that fails say so in the words of the original', async () => {
    const pod = hostPod('worded');
    Object.assign(pod.spec.containers[0] as object, {
      readinessProbe: { exec: { command: ['/no/such'] }, periodSeconds: 1 },
    });
    api.put(pod);
    const unhealthy = await until(
      () => recorder.events.find((e) => e.name === 'worded' && e.reason === 'Unhealthy')?.message,
      20_000,
    );
    assert.match(
      unhealthy,
      /^Readiness probe errored and resulted in unknown state: rpc error: code = \w+ desc = failed to exec/,
    );
    const hooked = hostPod('hooked');
    const hook = { exec: { command: ['sh', '-c', 'echo secret; exit 4'] } };
    Object.assign(hooked.spec.containers[0] as object, { lifecycle: { postStart: hook } });
    api.put(hooked);
    await until(() => recorder.reasons('hooked').includes('FailedPostStartHook'), 20_000);
    await until(() => (api.get('hooked')?.status?.containerStatuses?.[0]?.restartCount ?? 0) > 0, 30_000);
    assert.equal(
      recorder.events.some((e) => e.message.includes('secret')),
      false,
    );
    for (const name of ['worded', 'hooked']) api.markDeleted(name, 0);
    await until(() => !api.get('worded') && !api.get('hooked'), 20_000);
  });

  it('all containers begin anew where a rule asks for it', async () => {
    const rules = [{ action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [42] } }];
    const once = 'if [ -e /tmp/flag ]; then sleep 1000; fi; sleep 1; exit 42';
    const pod = hostPod('anew', ['sh', '-c', once], {
      restartPolicy: 'Never',
      initContainers: [{ name: 'init', image: BUSYBOX, command: ['true'] }],
    });
    Object.assign(pod.spec.containers[0] as object, { restartPolicy: 'Never', restartPolicyRules: rules });
    api.put(pod);
    const init = await until(() => {
      const status = api.get('anew')?.status?.initContainerStatuses?.[0];
      return status?.restartCount === 1 && status.state?.terminated ? status : undefined;
    }, 20_000);
    assert.equal(init.state?.terminated?.exitCode, 0);
    assert.equal(init.lastState?.terminated?.reason, 'RestartingAllContainers');
    api.markDeleted('anew', 0);
    await until(() => api.get('anew') === undefined, 20_000);
  });

  it('a running container gets another bound without a restart', async () => {
    const pod = hostPod('grows');
    const [main] = pod.spec.containers;
    Object.assign(main as object, { resources: { limits: { memory: '64Mi' } } });
    api.put(pod);
    await until(() => ready('grows'), 20_000);
    const next = structuredClone(api.get('grows') as Pod);
    Object.assign(next.spec.containers[0] as object, { resources: { limits: { memory: '96Mi' } } });
    api.put(next);
    const status = await until(() => {
      const s = api.get('grows')?.status?.containerStatuses?.[0];
      return s?.resources?.limits?.memory === '96Mi' ? s : undefined;
    }, 20_000);
    assert.equal(status.restartCount, 0);
    const { resources } = await cri.runtime.containerStatus(status.containerID?.split('//')[1] ?? '');
    assert.equal(resources?.linux?.memoryLimitInBytes, 96 * 2 ** 20);
    api.markDeleted('grows', 0);
    await until(() => api.get('grows') === undefined, 20_000);
  });

  it('what belongs to nobody is removed at the next start', async () => {
    await manager.stop();
    api.pods.clear();
    api.forgetSubscribers();
    await start();
    await until(async () => (await cri.runtime.listPodSandboxes()).length === 0, 30_000);
    await until(() => manager.status().orphans === 0, 5_000);
  });
});
