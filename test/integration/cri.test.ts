import assert from 'node:assert/strict';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Cri, RuntimeEvent } from '../../src/cri/index.ts';
import { BUSYBOX, createLab, type Lab, PAUSE, sandboxConfig, until, whyNot } from './cri-support.ts';

const skip = await whyNot(process.env.CONTAINERD_BIN);

describe('containerd, supervised', { skip, timeout: 120_000 }, () => {
  let lab: Lab;
  let cri: Cri;
  let sandbox: string;
  const events: RuntimeEvent[] = [];

  before(async () => {
    lab = await createLab(process.env.CONTAINERD_BIN);
    cri = lab.make();
    await cri.start(AbortSignal.timeout(60_000));
    cri.events.subscribe((event) => events.push(event));
    await cri.importer.imagesReady;
  });
  after(() => lab.end());

  const startContainer = async (name: string, command: string[]) => {
    const config = sandboxConfig(lab, 'one');
    const id = await cri.runtime.createContainer(
      sandbox,
      {
        metadata: { name, attempt: 0 },
        image: { image: BUSYBOX },
        command,
        labels: { app: 'one' },
        logPath: `${name}.log`,
      },
      config,
    );
    await cri.runtime.startContainer(id);
    return id;
  };

  it('says its version and that it runs', async () => {
    assert.equal((await cri.runtime.version()).runtimeName, 'containerd');
    const { state, pid, version } = cri.status();
    assert.equal(state, 'running');
    assert.ok(pid && pid > 0);
    assert.match(version ?? '', /^\d+\.\d+/);
    const ready = (await cri.runtime.status()).conditions.find((c) => c.type === 'RuntimeReady');
    assert.equal(ready?.status, true);
  });

  it('has the images of the images folder, named in full and pinned', async () => {
    const image = await cri.images.imageStatus('kat-busybox:1');
    assert.deepEqual(image?.repoTags, [BUSYBOX]);
    assert.deepEqual(
      image?.repoDigests.map((d) => d.replace(/[0-9a-f]{64}$/, '')),
      ['docker.io/library/kat-busybox@sha256:'],
    );
    assert.ok(await cri.images.imageStatus(PAUSE));
    if (!cri.status().version?.startsWith('1.6')) assert.equal(image?.pinned, true);
    assert.equal(cri.importer.failures().size, 0);
  });

  it('runs a sandbox and a container and tells of its exit within 100 ms', async (t) => {
    const config = sandboxConfig(lab, 'one');
    await mkdir(config.logDirectory ?? '', { recursive: true });
    sandbox = await cri.runtime.runPodSandbox(config, '');
    const status = await cri.runtime.podSandboxStatus(sandbox);
    assert.equal(status.state, 'SANDBOX_READY');
    assert.deepEqual(status.metadata, config.metadata);
    assert.deepEqual(status.labels, config.labels);
    const delays: number[] = [];
    // The machine may be busy with something else for one of them.
    for (const name of ['brief', 'brief2', 'brief3', 'brief4']) {
      const id = await startContainer(name, ['sh', '-c', 'echo hello; exit 3']);
      const is = (e: RuntimeEvent, kind: string) => e.type === 'container' && e.kind === kind && e.containerId === id;
      const event = await until(() => events.find((e) => is(e, 'exited')), 5_000);
      const seen = Date.now();
      assert.equal(event.type === 'container' && event.exitCode, 3);
      assert.ok(events.some((e) => is(e, 'started')));
      const look = async () => {
        const found = await cri.runtime.containerStatus(id);
        return found.state === 'CONTAINER_EXITED' ? found : undefined;
      };
      // Who looks at once must find it exited, unless he was told that he is early.
      const early = event.type === 'container' && event.early === true;
      const exit = early ? await until(look, 2_000) : await look();
      assert.ok(exit);
      assert.deepEqual([exit.exitCode, exit.reason], [3, 'Error']);
      delays.push(seen - exit.finishedAt / 1e6);
    }
    t.diagnostic(`told ${delays.map((d) => d.toFixed()).join(', ')} ms after the exit`);
    assert.ok(Math.min(...delays) < 100, `told ${delays} ms after the exit`);
    assert.match(await readFile(join(config.logDirectory ?? '', 'brief.log'), 'utf8'), / stdout F hello\n$/);
  });

  it("runs commands in a container without taking their end for the container's", async () => {
    const id = await startContainer('long', ['sleep', '1000']);
    const result = await cri.runtime.execSync(id, ['sh', '-c', 'echo out; echo err >&2; exit 7'], 10);
    assert.deepEqual([result.stdout.toString(), result.stderr.toString(), result.exitCode], ['out\n', 'err\n', 7]);
    const url = await cri.runtime.exec({
      containerId: id,
      cmd: ['sh'],
      tty: false,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/exec\//);
    const after = await startContainer('marker', ['true']);
    await until(
      () => events.find((e) => e.type === 'container' && e.kind === 'exited' && e.containerId === after),
      5_000,
    );
    assert.ok(!events.some((e) => e.type === 'container' && e.kind === 'exited' && e.containerId === id));
  });

  it('measures containers', async () => {
    const stats = await until(async () => {
      const all = await cri.runtime.listContainerStats({ labels: { app: 'one' } });
      return all.find((s) => s.metadata.name === 'long' && (s.memory?.workingSetBytes ?? 0) > 0);
    }, 5_000);
    assert.ok((stats.cpu?.usageCoreNanoSeconds ?? 0) > 0);
  });

  it("gives errors with stable codes and the runtime's own words", async () => {
    const failure = (await cri.runtime.containerStatus('nothing').catch((e) => e)) as { code: string; message: string };
    assert.equal(failure.code, 'CRI_NOT_FOUND');
    assert.doesNotMatch(failure.message, /^\d+ |NOT_FOUND:/);
    const aborted = AbortSignal.abort();
    await assert.rejects(cri.runtime.version({ signal: aborted }), { name: 'AbortError' });
  });

  it('starts containerd again when it is killed; containers go on, events too', async () => {
    const before = await cri.runtime.listContainers({ podSandboxId: sandbox });
    const running = before.find((c) => c.metadata.name === 'long');
    const pid = cri.status().pid ?? 0;
    const resyncs = events.filter((e) => e.type === 'resync').length;
    process.kill(pid, 'SIGKILL');
    await until(() => cri.status().state === 'running' && cri.status().pid !== pid, 10_000);
    await until(() => events.filter((e) => e.type === 'resync').length > resyncs, 5_000);
    const again = await cri.runtime.containerStatus(running?.id ?? '');
    assert.equal(again.state, 'CONTAINER_RUNNING');
    await cri.runtime.stopContainer(again.id, 0);
    await until(
      () => events.find((e) => e.type === 'container' && e.kind === 'exited' && e.containerId === again.id),
      5_000,
    );
  });

  it('can be used by somebody who did not start it', async () => {
    const guest = lab.make({ externalEndpoint: `unix://${cri.socket}`, dataDir: join(lab.dir, 'guest') });
    await guest.start(AbortSignal.timeout(10_000));
    assert.equal(guest.status().state, 'running');
    assert.equal(guest.status().pid, undefined);
    assert.equal(guest.cgroupDriver(), undefined);
    assert.equal((await guest.runtime.listPodSandboxes()).length, 1);
    await guest.stop();
    await guest.shutdown();
    assert.equal((await cri.runtime.version()).runtimeName, 'containerd');
  });

  it('is adopted by the next agent, images are not imported twice, and containers go on', async () => {
    const id = await startContainer('survivor', ['sleep', '1000']);
    const { pid } = cri.status();
    await cri.stop();
    lab.lines.length = 0;
    cri = lab.make();
    await cri.start(AbortSignal.timeout(20_000));
    await cri.importer.imagesReady;
    assert.equal(cri.status().pid, pid);
    assert.ok(lab.lines.some((line) => line.startsWith('containerd is adopted')));
    assert.ok(!lab.lines.some((line) => line.startsWith('Images were imported')));
    assert.equal((await cri.runtime.containerStatus(id)).state, 'CONTAINER_RUNNING');

    // An adopted containerd is no child of ours: its end is seen all the same.
    process.kill(pid ?? 0, 'SIGKILL');
    await until(() => cri.status().state === 'running' && cri.status().pid !== pid, 10_000);
    assert.equal((await cri.runtime.containerStatus(id)).state, 'CONTAINER_RUNNING');
  });

  it('is replaced when its configuration changed, and containers still go on', async () => {
    const [survivor] = await cri.runtime
      .listContainers({ labels: { app: 'one' } })
      .then((all) => all.filter((c) => c.metadata.name === 'survivor'));
    const { pid } = cri.status();
    await cri.stop();
    cri = lab.make({ nonrootDevices: true });
    await cri.start(AbortSignal.timeout(20_000));
    assert.notEqual(cri.status().pid, pid);
    assert.equal((await cri.runtime.containerStatus(survivor?.id ?? '')).state, 'CONTAINER_RUNNING');
    await cri.stop();
  });

  it('refuses a socket that somebody else serves', async () => {
    const { createServer } = await import('node:net');
    const other = createServer((socket) => socket.destroy());
    const stateDir = join(lab.dir, 'other');
    await mkdir(stateDir);
    await new Promise<void>((resolve) => other.listen(join(stateDir, 'containerd.sock'), resolve));
    const second = lab.make({ stateDir, dataDir: join(lab.dir, 'other-data') });
    await assert.rejects(second.start(AbortSignal.timeout(20_000)), { code: 'CONTAINERD_SOCKET_TAKEN' });
    await new Promise((resolve) => other.close(resolve));
    await second.start(AbortSignal.timeout(20_000));
    assert.equal(second.status().state, 'running', 'a second start is allowed once the way is clear');
    await second.stop();
    await second.shutdown();
  });

  it('says why containerd does not come up, and goes on trying', async () => {
    const other = { stateDir: join(lab.dir, 'run3'), dataDir: join(lab.dir, 'data3') };
    const bad = lab.make({ ...other, snapshotter: 'nonsense' });
    const stopping = new AbortController();
    const started = bad.start(stopping.signal).catch(() => 'stopped');
    await until(() => bad.status().state === 'failing' || undefined, 20_000);
    assert.match(bad.status().lastError ?? '', /without its CRI part.*nonsense/);
    stopping.abort();
    assert.equal(await started, 'stopped');
    await bad.stop();

    const dropIns = join(
      other.dataDir,
      'agent/etc/containerd',
      cri.status().version?.startsWith('2') ? 'config-v3.toml.d' : 'config.toml.d',
    );
    await mkdir(dropIns, { recursive: true });
    await writeFile(join(dropIns, 'bad.toml'), 'this is = = not TOML\n');
    const broken = lab.make(other);
    const again = new AbortController();
    const tried = broken.start(again.signal).catch(() => 'stopped');
    await until(() => broken.status().state === 'failing' || undefined, 20_000);
    assert.match(broken.status().lastError ?? '', /containerd ended while starting .*exit 1/i);
    await rm(join(dropIns, 'bad.toml'));
    assert.equal(await tried, undefined, 'it comes up once the file is gone');
    await broken.stop();
    await broken.shutdown();

    const store = join(other.dataDir, 'agent/containerd');
    await writeFile(join(store, 'io.containerd.metadata.v1.bolt/meta.db'), Buffer.alloc(65_536, 'x'));
    const hurt = lab.make(other);
    const mended = hurt.start(AbortSignal.timeout(60_000));
    await until(() => hurt.status().state === 'failing' || undefined, 30_000);
    assert.match(hurt.status().lastError ?? '', /image store is damaged/);
    await rename(store, `${store}.old`);
    await mended;
    assert.equal(hurt.status().state, 'running', 'it goes on by itself once the store is out of the way');
    await hurt.stop();
    await hurt.shutdown();
  });
});
