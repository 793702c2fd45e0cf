import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../../src/core/index.ts';
import { type Cri, type CriOptions, createCri, type PodSandboxConfig } from '../../src/cri/index.ts';
import { hostExec } from '../../src/host/index.ts';
import { tar } from '../fakes/tar.ts';

/** Accounts of an image that has some: `bob` is 1000 and in a group of his own besides. */
export const ACCOUNTS = {
  passwd: 'root:x:0:0:root:/:/bin/sh\nbob:x:1000:1000:bob:/:/bin/sh\n',
  group: 'root:x:0:\nbob:x:1000:\nextra:x:50000:bob\n',
};

/** A docker-archive with one image made of the host's static busybox; with a `user`, it has accounts too. */
export async function busyboxArchive(names: readonly string[], cmd: readonly string[], user?: string): Promise<Buffer> {
  const busybox = await readFile('/bin/busybox');
  const layer = tar([
    { name: 'bin/', mode: 0o755 },
    { name: 'tmp/', mode: 0o777 },
    { name: 'bin/busybox', data: busybox, mode: 0o755 },
    ...(user === undefined
      ? []
      : [
          { name: 'etc/', mode: 0o755 },
          { name: 'etc/passwd', data: Buffer.from(ACCOUNTS.passwd), mode: 0o644 },
          { name: 'etc/group', data: Buffer.from(ACCOUNTS.group), mode: 0o644 },
        ]),
    ...['sh', 'sleep', 'echo', 'cat', 'true'].map((name) => ({ name: `bin/${name}`, link: 'busybox', mode: 0o777 })),
  ]);
  const digest = createHash('sha256').update(layer).digest('hex');
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Cmd: cmd, Env: ['PATH=/bin'], ...(user !== undefined && { User: user }) },
      rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
    }),
  );
  const manifest = Buffer.from(JSON.stringify([{ Config: 'config.json', RepoTags: names, Layers: ['layer.tar'] }]));
  return tar([
    { name: 'layer.tar', data: layer },
    { name: 'config.json', data: config },
    { name: 'manifest.json', data: manifest },
  ]);
}

/** Why these tests can't run here; undefined if they can. */
export async function whyNot(containerd = 'containerd'): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const program of [
    [containerd, '--version'],
    ['runc', '--version'],
  ])
    if (!(await hostExec.run(program).catch(() => undefined))) return `no ${program[0]}`;
  const busybox = await hostExec.run(['file', '-L', '/bin/busybox']).catch(() => undefined);
  if (!(await stat('/bin/busybox').catch(() => undefined))) return 'no /bin/busybox';
  return busybox?.stdout.includes('dynamically') ? 'busybox is not static' : undefined;
}

export const PAUSE = 'registry.test/pause:1';
export const BUSYBOX = 'docker.io/library/kat-busybox:1';

export interface Lab {
  dir: string;
  options: CriOptions;
  lines: string[];
  make(extra?: Partial<CriOptions>): Cri;
  end(): Promise<void>;
}

/** A containerd's folders under a fresh temporary one. `binary`: which containerd. */
export async function createLab(binary?: string): Promise<Lab> {
  const dir = await mkdtemp(join(tmpdir(), 'kat-cri-'));
  await mkdir(join(dir, 'data/agent/images'), { recursive: true });
  await writeFile(join(dir, 'data/agent/images/pause.tar'), await busyboxArchive([PAUSE], ['/bin/sleep', '1000000']));
  await writeFile(join(dir, 'data/agent/images/busybox.tar'), await busyboxArchive(['kat-busybox:1'], ['/bin/sh']));
  const lines: string[] = [];
  const write = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log: Logger = { debug() {}, info: write, warn: write, error: write, child: () => log };
  const options: CriOptions = {
    dataDir: join(dir, 'data'),
    stateDir: join(dir, 'run'),
    pauseImage: PAUSE,
    registriesFile: join(dir, 'registries.yaml'),
    streamPort: 0,
    log,
    ...(binary === undefined ? {} : { binary }),
  };
  const made: Cri[] = [];
  return {
    dir,
    options,
    lines,
    make(extra = {}) {
      const cri = createCri({ ...options, ...extra });
      made.push(cri);
      return cri;
    },
    async end() {
      const last = createCri(options);
      try {
        await last.start(AbortSignal.timeout(30_000));
        for (const { id } of await last.runtime.listPodSandboxes()) {
          await last.runtime.stopPodSandbox(id);
          await last.runtime.removePodSandbox(id);
        }
      } finally {
        for (const cri of [...made, last]) await cri.stop();
        await last.shutdown();
      }
      const mounts = await readFile('/proc/self/mounts', 'utf8');
      const ours = mounts.split('\n').flatMap((line) => line.split(' ')[1] ?? []);
      for (const mount of ours.filter((path) => path.startsWith(dir)).reverse())
        await hostExec.run(['umount', '-l', mount]).catch(() => {});
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export function sandboxConfig(lab: Lab, name: string): PodSandboxConfig {
  return {
    metadata: { name, uid: `uid-${name}`, namespace: 'default', attempt: 0 },
    logDirectory: join(lab.dir, 'logs', name),
    labels: { app: name },
    linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ipc: 'POD' } } },
  };
}

/** Resolves once `probe` gives something; for what has no event. Fails after `ms`. */
export async function until<T>(probe: () => T | undefined | Promise<T | undefined>, ms: number): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
