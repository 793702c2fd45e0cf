import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseCidr, silentLogger, systemClock } from '../../src/core/index.ts';
import type { Cri } from '../../src/cri/index.ts';
import { conflistText } from '../../src/flannel/cni-files.ts';
import type { Pod } from '../../src/kube/index.ts';
import { ImagePuller } from '../../src/kubelet/images/index.ts';
import type { MaterialsOptions, PodMaterials } from '../../src/kubelet/index.ts';
import { createProbeRunner, PodManager } from '../../src/kubelet/pods/index.ts';
import { FakePodApi, FakeRecorder, makePod } from '../fakes/pods.ts';
import type { FakeReferenceApi } from '../fakes/reference-api.ts';
import { BUSYBOX, busyboxArchive, createLab, type Lab, until, whyNot } from './cri-support.ts';
import { createVolumesLab, type VolumesLab } from './volumes-lab.ts';

/** Images of one busybox whose user is a number, a name, and root. */
export const IMAGES = { number: 'kat-number:1', name: 'kat-name:1', accounts: 'kat-accounts:1' };
const USERS = { number: '1000:1000', name: 'bob', accounts: '0' };
const CNI_BIN = ['/usr/lib/cni', '/opt/cni/bin'].find(
  (dir) => spawnSync('test', ['-x', `${dir}/portmap`]).status === 0,
);
export const POD_NETWORK = '10.244.77.0/24';

/** Pods as they really are: real materials, real containerd in a network namespace of its own; the server is in memory. */
export interface PodLab {
  api: FakePodApi;
  recorder: FakeRecorder;
  cri: Cri;
  materials: PodMaterials;
  manager: PodManager;
  /** ConfigMaps and Secrets of the server. */
  objects: FakeReferenceApi;
  /** Folder that is `/var/lib/kubelet` here. */
  kubeletDir: string;
  /** Folder that is `/var/log/pods` here. */
  logDir: string;
  /** Runs a program in the host's network namespace of the lab. */
  onHost(...argv: string[]): { status: number | null; out: string };
  /** Puts a pod of one container that runs `script`, or sleeps. */
  put(name: string, options?: PodWish): Pod;
  /** Waits until it is Running and ready. */
  ready(name: string): Promise<Pod>;
  /** What a program in the pod's container prints; also where it fails. */
  sh(name: string, script: string, container?: string): Promise<string>;
  /** Waits for an event on the pod and gives its message. */
  event(name: string, reason: string): Promise<string>;
  remove(...names: string[]): Promise<void>;
  end(): Promise<void>;
}

export interface PodWish {
  script?: string;
  image?: string;
  security?: object;
  podSecurity?: object;
  container?: object;
  spec?: object;
  annotations?: Record<string, string>;
}

export async function podLabMissing({ network }: { network: boolean }): Promise<string | undefined> {
  const missing = await whyNot(process.env.CONTAINERD_BIN);
  if (missing !== undefined) return missing;
  return network && CNI_BIN === undefined ? 'needs the CNI plugins (containernetworking-plugins)' : undefined;
}

export async function createPodLab(
  id: string,
  options: { network?: boolean; materials?: Partial<MaterialsOptions> } = {},
): Promise<PodLab> {
  const ns = `kat-${id}-${process.pid}`;
  const host = (...argv: string[]) => spawnSync('ip', ['netns', 'exec', ns, ...argv], { encoding: 'utf8' });
  spawnSync('ip', ['netns', 'add', ns]);
  host('ip', 'link', 'set', 'lo', 'up');
  host('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.route_localnet=1');
  const binDir = await mkdtemp(join(tmpdir(), `${ns}-`));
  const bin = join(binDir, 'containerd');
  // By its whole path: the folder of this script comes first where programs are looked for.
  const real = process.env.CONTAINERD_BIN ?? spawnSync('sh', ['-c', 'command -v containerd']).stdout.toString().trim();
  // containerd takes the shim that lies beside it only if it is found first.
  await writeFile(bin, `#!/bin/sh\nPATH=${dirname(real)}:$PATH exec nsenter --net=/run/netns/${ns} ${real} "$@"\n`);
  await chmod(bin, 0o755);
  const lab = await createLab(bin);
  for (const [key, image] of Object.entries(IMAGES))
    await writeFile(
      join(lab.dir, `data/agent/images/${key}.tar`),
      await busyboxArchive([image], ['/bin/sh'], USERS[key as keyof typeof USERS]),
    );
  const confDir = join(lab.dir, 'net.d');
  if (options.network) {
    await writeConflist(confDir);
    Object.assign(lab.options, { cni: { binDirs: [CNI_BIN as string], confDir } });
  }
  const cri = lab.make();
  let volumes: VolumesLab | undefined;
  let manager: PodManager | undefined;
  const end = async () => {
    for (const key of api.pods.values()) api.markDeleted(key.metadata.name as string, 0);
    await until(() => api.pods.size === 0, 30_000).catch(() => {});
    await manager?.stop();
    await volumes?.end();
    await lab.end();
    spawnSync('ip', ['netns', 'del', ns]);
    await rm(binDir, { recursive: true });
  };
  const api = new FakePodApi();
  const recorder = new FakeRecorder();
  try {
    await cri.start(AbortSignal.timeout(60_000));
    await cri.importer.imagesReady;
    volumes = await createVolumesLab({ logDir: join(lab.dir, 'logs'), ...options.materials });
    await volumes.materials.start(new AbortController().signal);
    manager = await startManager({ lab, cri, api, recorder, materials: volumes.materials });
  } catch (error) {
    await end();
    throw error;
  }
  const made = volumes;
  const running = manager;
  const containerId = (name: string, container: string) => {
    const { containerStatuses = [], ephemeralContainerStatuses = [] } = api.get(name)?.status ?? {};
    const status = [...containerStatuses, ...ephemeralContainerStatuses].find((s) => s.name === container);
    return (status?.containerID ?? '').replace('containerd://', '');
  };
  return {
    api,
    recorder,
    cri,
    materials: made.materials,
    manager: running,
    objects: made.api,
    kubeletDir: join(made.dir, 'kubelet'),
    logDir: join(lab.dir, 'logs'),
    onHost(...argv) {
      const { status, stdout, stderr } = host(...argv);
      return { status, out: `${stdout}${stderr}` };
    },
    put(name, wish = {}) {
      const pod = wishedPod(name, wish);
      api.put(pod);
      return pod;
    },
    ready: (name) =>
      until(() => {
        const pod = api.get(name);
        return pod?.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ? pod : undefined;
      }, 30_000).catch((error) => {
        const told = recorder.events.filter((e) => e.name === name).map((e) => e.message);
        throw new Error(`${name} did not get ready: ${told.join('; ')}`, { cause: error });
      }),
    async sh(name, script, container = 'main') {
      const { stdout, stderr } = await cri.runtime.execSync(containerId(name, container), ['sh', '-c', script], 10);
      return `${stdout}${stderr}`.trim();
    },
    event: (name, reason) =>
      until(() => recorder.events.find((e) => e.name === name && e.reason === reason)?.message, 20_000),
    async remove(...names) {
      for (const name of names) api.markDeleted(name, 0);
      await until(() => names.every((name) => api.get(name) === undefined), 30_000);
    },
    end,
  };
}

function wishedPod(name: string, wish: PodWish): Pod {
  const { script = 'sleep 100000', image = BUSYBOX, security, podSecurity, container, spec, annotations } = wish;
  return makePod(
    name,
    {
      hostNetwork: true,
      terminationGracePeriodSeconds: 0,
      ...(podSecurity && { securityContext: podSecurity }),
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', script],
          ...(security && { securityContext: security }),
          ...container,
        },
      ],
      ...spec,
    },
    annotations ? { annotations } : {},
  );
}

/** The conflist that the agent writes. */
async function writeConflist(confDir: string): Promise<void> {
  await mkdir(confDir, { recursive: true });
  const subnets = { 4: parseCidr(POD_NETWORK) };
  const text = conflistText({ subnets, networks: subnets, mtu: 1450, plugins: new Set(['portmap', 'bandwidth']) });
  await writeFile(join(confDir, '10-flannel.conflist'), text);
}

async function startManager(parts: {
  lab: Lab;
  cri: Cri;
  api: FakePodApi;
  recorder: FakeRecorder;
  materials: PodMaterials;
}): Promise<PodManager> {
  const { lab, cri, api, recorder, materials } = parts;
  await mkdir(join(lab.dir, 'links'));
  const clock = systemClock;
  const images = new ImagePuller({
    images: cri.images,
    clock,
    log: silentLogger,
    secret: () => Promise.reject(new Error('none')),
  });
  const manager = new PodManager({
    source: api,
    runtime: cri.runtime,
    events: cri.events,
    images,
    materials,
    recorder,
    client: api.client,
    probes: createProbeRunner({ runtime: cri.runtime, recorder, clock }),
    nodeName: 'n1',
    hostIps: () => ['10.0.0.9'],
    serverMinor: () => 36,
    clock,
    log: silentLogger,
    logLinkDir: join(lab.dir, 'links'),
    slots: 4,
  });
  await manager.start(new AbortController().signal);
  return manager;
}
