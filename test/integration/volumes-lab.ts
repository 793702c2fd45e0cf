import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '../../src/core/index.ts';
import { type Exec, hostExec } from '../../src/host/index.ts';
import type { Pod, Volume } from '../../src/kube/index.ts';
import type { MaterialsOptions, PodMaterials } from '../../src/kubelet/index.ts';
import { createMaterials } from '../../src/kubelet/index.ts';
import { FakeReferenceApi } from '../fakes/reference-api.ts';

export const signal = new AbortController().signal;

/** Materials on the real kernel below a temporary folder, with the API server in memory. */
export interface VolumesLab {
  dir: string;
  api: FakeReferenceApi;
  materials: PodMaterials;
  /** Every process that was started, by its arguments. */
  processes: string[][];
  /** Another agent on the same folders, as after kill -9. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

export async function createVolumesLab(extra: Partial<MaterialsOptions> = {}): Promise<VolumesLab> {
  const dir = await realpath(await mkdtemp(join(tmpdir(), 'kat-volumes-')));
  const api = new FakeReferenceApi();
  const processes: string[][] = [];
  const exec: Exec = {
    run(argv, options) {
      processes.push([...argv]);
      return hostExec.run(argv, options);
    },
  };
  const root = `/kat-${dir.split('-').at(-1)}`;
  const make = () =>
    createMaterials({
      rootDir: join(dir, 'kubelet'),
      logDir: join(dir, 'logs'),
      client: api.client,
      clock: systemClock,
      log: silentLogger,
      exec,
      node: () => ({
        name: 'n1',
        labels: { 'kubernetes.io/os': 'linux' },
        taints: [],
        allocatable: { cpu: '2', memory: '1Gi', pods: '110', 'ephemeral-storage': '1Gi' },
        hostIps: ['10.0.0.9'],
        hostname: 'n1',
      }),
      services: { list: () => [], synced: () => true },
      dns: { clusterDns: ['10.43.0.10'], clusterDomain: 'cluster.local', resolvConf: undefined },
      cgroups: { version: 1, driver: 'cgroupfs', root },
      runtimeHandler: async (name) => name,
      memoryCapacity: 2 ** 30,
      ...extra,
    });
  const lab: VolumesLab = {
    dir,
    api,
    processes,
    materials: make(),
    async restart() {
      await lab.materials.stop();
      lab.materials = make();
      await lab.materials.start(signal);
    },
    async end() {
      for (const uid of await lab.materials.orphans(new Set())) await lab.materials.release(uid, signal);
      await lab.materials.stop();
      // The folder itself is a mount where the host's are private.
      for (const mount of ['kubelet/pods-memory', 'kubelet'])
        await hostExec.run(['umount', join(dir, mount)]).catch(() => {});
      await rm(dir, { recursive: true, force: true });
      await removeCgroups(root);
    },
  };
  return lab;
}

async function removeCgroups(root: string): Promise<void> {
  await hostExec
    .run(['find', '/sys/fs/cgroup', '-depth', '-path', `*${root}*`, '-type', 'd', '-delete'])
    .catch(() => {});
}

/** A pod with these volumes, each mounted at its name unless the containers given say otherwise. */
export function volumePod(uid: string, volumes: Volume[], spec: Partial<Pod['spec']> = {}): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return {
    metadata: { name: `pod-${uid}`, namespace: 'ns', uid, labels: { app: 'x' } },
    spec: {
      containers: [{ name: 'main', image: 'busybox', volumeMounts }],
      serviceAccountName: 'default',
      volumes,
      ...spec,
    },
  };
}

/** The volume every pod gets from the server. */
export const apiAccess: Volume = {
  name: 'kube-api-access-abcde',
  projected: {
    defaultMode: 420,
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      {
        downwardAPI: {
          items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
        },
      },
    ],
  },
};
