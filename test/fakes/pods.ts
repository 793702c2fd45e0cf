import type { ContainerConfig, PodSandboxConfig } from '../../src/cri/types.ts';
import type { EventRecorder, KubeClient, ObjectReference, Pod, PodStatus } from '../../src/kube/index.ts';
import { KubeError } from '../../src/kube/index.ts';
import type { Refusal } from '../../src/kubelet/admission/index.ts';
import type { Admission, PodMaterials } from '../../src/kubelet/materials.ts';
import type { PodChange, PodSource } from '../../src/kubelet/pods/source.ts';

/** Pods of an API server in memory, seen as a source and written to as by a client. */
export class FakePodApi implements PodSource {
  readonly pods = new Map<string, Pod>();
  /** Each creation, status patch and deletion, in order. */
  readonly writes: { verb: 'patch' | 'delete' | 'create'; name: string; body: unknown }[] = [];
  synced = true;
  away = false;
  #version = 1;
  #handlers = new Set<(change: PodChange) => void>();
  #reachable = new Set<() => void>();
  #whenSynced: (() => void)[] = [];

  get client(): KubeClient {
    return this as unknown as KubeClient;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  whenSynced(): Promise<void> {
    return this.synced ? Promise.resolve() : new Promise((resolve) => this.#whenSynced.push(resolve));
  }

  setSynced(): void {
    this.synced = true;
    for (const resolve of this.#whenSynced.splice(0)) resolve();
  }

  subscribe(handler: (change: PodChange) => void): () => void {
    for (const pod of this.pods.values()) handler({ type: 'set', pod });
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** The agent died: nobody listens any more. */
  forgetSubscribers(): void {
    this.#handlers.clear();
    this.#reachable.clear();
  }

  onReachable(fn: () => void): () => void {
    this.#reachable.add(fn);
    return () => this.#reachable.delete(fn);
  }

  back(): void {
    this.away = false;
    for (const fn of this.#reachable) fn();
  }

  put(pod: Pod): void {
    Object.assign(pod.metadata, { resourceVersion: String(++this.#version) });
    this.pods.set(`${pod.metadata.namespace}/${pod.metadata.name}`, pod);
    const copy = structuredClone(pod);
    for (const handler of this.#handlers) handler({ type: 'set', pod: copy });
  }

  /** As `kubectl delete` begins it. */
  markDeleted(name: string, graceSeconds = 30): void {
    const pod = this.#get(`default/${name}`);
    const deletion = { deletionTimestamp: '2026-11-24T10:01:00Z', deletionGracePeriodSeconds: graceSeconds };
    Object.assign(pod.metadata, deletion);
    this.put(pod);
  }

  /** As `kubectl delete --force` or a lost history. */
  vanish(name: string): void {
    const pod = this.#get(`default/${name}`);
    this.pods.delete(`default/${name}`);
    for (const handler of this.#handlers) handler({ type: 'removed', pod });
  }

  get(name: string): Pod | undefined {
    return this.pods.get(`default/${name}`);
  }

  async patch(path: string, _kind: string, body: { metadata: { uid: string }; status: PodStatus }): Promise<Pod> {
    this.#check();
    const pod = this.#get(keyOf(path));
    this.writes.push({ verb: 'patch', name: pod.metadata.name ?? '', body });
    if (body.metadata.uid !== pod.metadata.uid) throw new KubeError({ status: 409, message: 'uid mismatch' });
    const status: Record<string, unknown> = { ...pod.status };
    for (const [field, value] of Object.entries(body.status as object)) {
      if (field === 'conditions') {
        const old = (pod.status?.conditions ?? []).filter(
          (c) => !value.some((n: { type: string }) => n.type === c.type),
        );
        const merged = value
          .filter((c: { $patch?: string }) => c.$patch !== 'delete')
          .map((c: { type: string }) => {
            const all = { ...pod.status?.conditions?.find((o) => o.type === c.type), ...c };
            return Object.fromEntries(Object.entries(all).filter(([key, v]) => v !== null || key === 'lastProbeTime'));
          });
        status[field] = [...old, ...merged];
      } else if (field === 'podIPs' || field === 'hostIPs') {
        status[field] = value.filter((entry: { $patch?: string }) => entry.$patch === undefined);
      } else if (value === null) delete status[field];
      else status[field] = value;
    }
    pod.status = status as PodStatus;
    this.put(pod);
    return structuredClone(pod);
  }

  async create(path: string, body: Pod): Promise<Pod> {
    this.#check();
    const key = `${path.split('/')[4]}/${body.metadata.name}`;
    if (this.pods.has(key)) throw new KubeError({ status: 409, message: 'already exists', reason: 'AlreadyExists' });
    this.writes.push({ verb: 'create', name: body.metadata.name ?? '', body });
    const pod = structuredClone(body);
    Object.assign(pod.metadata, { uid: `server-uid-${++uids}` });
    this.put(pod);
    return structuredClone(pod);
  }

  async delete(path: string): Promise<void> {
    this.#check();
    const pod = this.#get(keyOf(path));
    this.writes.push({ verb: 'delete', name: pod.metadata.name ?? '', body: undefined });
    this.vanish(pod.metadata.name ?? '');
  }

  #check(): void {
    if (this.away) throw new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'no server' });
  }

  #get(key: string): Pod {
    const pod = this.pods.get(key);
    if (!pod) throw new KubeError({ status: 404, message: `pods "${key}" not found`, reason: 'NotFound' });
    return pod;
  }
}

function keyOf(path: string): string {
  const parts = path.split('/');
  return `${parts[4]}/${parts[6]}`;
}

/** Materials that need nothing of the host. */
export class FakeMaterials {
  readonly released: string[] = [];
  readonly logsRemoved: string[] = [];
  admitted: (pod: Pod, active: readonly Pod[]) => Admission = () => ({ admitted: true });
  volumes: (pod: Pod) => string | undefined = () => undefined;
  config: (name: string) => void = () => {};
  leftOver: string[] = [];

  /** Calls every subscriber with a pod whose volumes may be had now. */
  volumesMayBeReady: (podUid: string) => void = () => {};

  get service(): PodMaterials {
    return this as unknown as PodMaterials;
  }

  onVolumesMayBeReady(handler: (podUid: string) => void) {
    this.volumesMayBeReady = handler;
    return () => {};
  }

  admit(pod: Pod, active: readonly Pod[]) {
    return this.admitted(pod, active);
  }
  async preparePod(): Promise<void> {}
  async mountVolumes(pod: Pod) {
    const message = this.volumes(pod);
    if (message === undefined) return { ready: true, volumes: new Map() };
    return { ready: false, failures: [{ volume: 'v', code: 'VOLUME_REFERENCE', message }] };
  }
  async sandbox(pod: Pod, attempt: number): Promise<{ config: PodSandboxConfig; runtimeHandler: string; notices: [] }> {
    const { name = '', namespace = '', uid = '' } = pod.metadata;
    const config: PodSandboxConfig = {
      metadata: { name, namespace, uid, attempt },
      logDirectory: `/tmp/kat-pods-logs/${uid}`,
      labels: {
        'io.kubernetes.pod.uid': uid,
        'io.kubernetes.pod.name': name,
        'io.kubernetes.pod.namespace': namespace,
      },
      linux: {
        securityContext: {
          namespaceOptions: { network: pod.spec.hostNetwork ? 'NODE' : 'POD', pid: 'CONTAINER', ipc: 'POD' },
        },
      },
    };
    return { config, runtimeHandler: '', notices: [] };
  }
  async container(request: {
    pod: Pod;
    container: { name: string; image?: string; command?: string[]; args?: string[] };
    restartCount: number;
    image: { ref: string };
  }): Promise<{ config: ContainerConfig; notices: [] }> {
    const { container, restartCount, image } = request;
    this.config(container.name);
    const config: ContainerConfig = {
      metadata: { name: container.name, attempt: restartCount },
      image: { image: image.ref, userSpecifiedImage: container.image ?? '' },
      ...(container.command ? { command: container.command } : {}),
      ...(container.args ? { args: container.args } : {}),
      logPath: `${container.name}-${restartCount}.log`,
      labels: { 'io.kubernetes.container.name': container.name },
      annotations: { 'io.kubernetes.container.hash': this.containerHash(container) },
    };
    return { config, notices: [] };
  }
  /** Why a resize can't be had. */
  refusal: Refusal | undefined;
  refuseResize() {
    return this.refusal;
  }
  containerResources(_: Pod, container: { resources?: { limits?: Record<string, string> } }) {
    return { memoryLimitInBytes: Number.parseInt(container.resources?.limits?.memory ?? '0', 10) * 2 ** 20 };
  }
  containerHash(container: { name: string; image?: string }): string {
    return `${container.name}@${container.image}`;
  }
  async release(uid: string): Promise<void> {
    this.released.push(uid);
  }
  async removeLogs(pod: { name: string }): Promise<void> {
    this.logsRemoved.push(pod.name);
  }
  async orphans(): Promise<string[]> {
    return this.leftOver;
  }
  async sweepLogs(): Promise<void> {}
  async sweepStaged(): Promise<void> {}
  volumesInUse(): string[] | undefined {
    return undefined;
  }
}

/** Keeps events as `reason message`, by object name. */
export class FakeRecorder implements EventRecorder {
  readonly events: { name: string; fieldPath: string | undefined; type: string; reason: string; message: string }[] =
    [];
  event(about: ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.events.push({ name: about.name, fieldPath: about.fieldPath, type, reason, message });
  }
  reasons(name?: string): string[] {
    return this.events.filter((e) => name === undefined || e.name === name).map((e) => e.reason);
  }
}

let uids = 0;

/** A pod of one container that runs until it is told to end. */
export function makePod(name: string, spec: Partial<Pod['spec']> = {}, metadata: Partial<Pod['metadata']> = {}): Pod {
  return {
    metadata: {
      name,
      namespace: 'default',
      uid: `uid-${name}-${++uids}`,
      creationTimestamp: '2026-11-24T09:59:59Z',
      generation: 1,
      ...metadata,
    },
    spec: {
      restartPolicy: 'Always',
      containers: [{ name: 'main', image: 'busybox:1', imagePullPolicy: 'IfNotPresent' }],
      ...spec,
    },
  };
}
