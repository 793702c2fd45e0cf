import { AgentError, type Clock } from '../../src/core/index.ts';
import type {
  ContainerConfig,
  CriContainer,
  CriContainerStatus,
  CriImage,
  ImageService,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxStatus,
  RuntimeEvent,
  RuntimeEvents,
  RuntimeService,
} from '../../src/cri/types.ts';

interface Sandbox {
  id: string;
  config: PodSandboxConfig;
  ready: boolean;
  ip: string;
  createdAt: number;
}

interface FakeContainer {
  id: string;
  sandboxId: string;
  config: ContainerConfig;
  state: CriContainerStatus['state'];
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  reason: string;
}

/** A container runtime in memory. `fail` makes calls fail, `calls` counts them, `hold` lets them wait. */
export class FakeRuntime implements Partial<RuntimeService>, RuntimeEvents {
  readonly sandboxes = new Map<string, Sandbox>();
  readonly containers = new Map<string, FakeContainer>();
  readonly calls: string[] = [];
  /** Called before each call with its name and a detail; throw to make it fail. */
  intercept: (call: string, detail: string) => void | Promise<void> = () => {};
  /** Called after a call that makes or starts something took effect, before its answer. */
  linger: (call: string) => void | Promise<void> = () => {};
  /** What a container does when asked to stop: exits with this code, or ignores it until killed. */
  onTerm: (name: string) => number | 'ignore' = () => 143;
  execExit = 0;
  /** The message of containers that failed to start. */
  message = '';
  #handlers = new Set<(event: RuntimeEvent) => void>();
  #count = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get service(): RuntimeService {
    return this as unknown as RuntimeService;
  }

  subscribe(handler: (event: RuntimeEvent) => void): () => void {
    this.#handlers.add(handler);
    handler({ type: 'resync' });
    return () => this.#handlers.delete(handler);
  }

  /** The agent died: nobody listens any more. */
  forgetSubscribers(): void {
    this.#handlers.clear();
  }

  emit(event: RuntimeEvent): void {
    for (const handler of this.#handlers) handler(event);
  }

  count(call: string): number {
    return this.calls.filter((c) => c === call).length;
  }

  async #enter(call: string, detail = ''): Promise<void> {
    this.calls.push(call);
    await this.intercept(call, detail);
  }

  #ns(): number {
    return this.#clock.now() * 1e6 + this.#count;
  }

  #id(): string {
    return (++this.#count).toString(16).padStart(64, '0');
  }

  async runPodSandbox(config: PodSandboxConfig): Promise<string> {
    await this.#enter('runPodSandbox', config.metadata.name);
    const { uid, attempt, name } = config.metadata;
    for (const s of this.sandboxes.values())
      if (s.config.metadata.uid === uid && s.config.metadata.attempt === attempt)
        throw new AgentError({
          code: 'CRI_UNKNOWN',
          message: `failed to reserve sandbox name "${name}_${attempt}": name "${name}" is reserved for "${s.id}"`,
        });
    const id = this.#id();
    const ip =
      config.linux?.securityContext?.namespaceOptions?.network === 'NODE' ? '' : `10.42.0.${this.#count % 250}`;
    this.sandboxes.set(id, { id, config, ready: true, ip, createdAt: this.#ns() });
    await this.linger('runPodSandbox');
    return id;
  }

  async stopPodSandbox(id: string): Promise<void> {
    await this.#enter('stopPodSandbox', id);
    const sandbox = this.sandboxes.get(id);
    if (!sandbox) return;
    for (const c of this.containers.values()) if (c.sandboxId === id) this.exit(c.id, 137);
    sandbox.ready = false;
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.#enter('removePodSandbox', id);
    for (const c of [...this.containers.values()]) if (c.sandboxId === id) this.containers.delete(c.id);
    this.sandboxes.delete(id);
  }

  async podSandboxStatus(id: string): Promise<PodSandboxStatus> {
    await this.#enter('podSandboxStatus', id);
    return this.#sandbox(this.#found(this.sandboxes, id));
  }

  async listPodSandboxes(): Promise<PodSandbox[]> {
    await this.#enter('listPodSandboxes');
    return [...this.sandboxes.values()].map((s) => this.#sandbox(s));
  }

  async createContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    await this.#enter('createContainer', config.metadata.name);
    this.#found(this.sandboxes, sandboxId);
    const id = this.#id();
    this.containers.set(id, {
      id,
      sandboxId,
      config,
      state: 'CONTAINER_CREATED',
      createdAt: this.#ns(),
      startedAt: 0,
      finishedAt: 0,
      exitCode: 0,
      reason: '',
    });
    await this.linger('createContainer');
    return id;
  }

  async startContainer(id: string): Promise<void> {
    const container = this.#found(this.containers, id);
    try {
      await this.#enter('startContainer', container.config.metadata.name);
    } catch (error) {
      Object.assign(container, {
        state: 'CONTAINER_EXITED',
        exitCode: 128,
        reason: 'StartError',
        finishedAt: this.#ns(),
      });
      throw error;
    }
    container.state = 'CONTAINER_RUNNING';
    container.startedAt = this.#ns();
    this.emit({ type: 'container', kind: 'started', containerId: id, sandboxId: container.sandboxId });
    await this.linger('startContainer');
  }

  async stopContainer(id: string, timeoutSeconds: number): Promise<void> {
    const container = this.#found(this.containers, id);
    await this.#enter('stopContainer', container.config.metadata.name);
    if (container.state !== 'CONTAINER_RUNNING') return;
    const code = this.onTerm(container.config.metadata.name);
    if (code === 'ignore') await this.#clock.sleep(timeoutSeconds * 1000);
    this.exit(id, code === 'ignore' ? 137 : code);
  }

  async removeContainer(id: string): Promise<void> {
    await this.#enter('removeContainer', id);
    this.containers.delete(id);
  }

  async listContainers(): Promise<CriContainer[]> {
    await this.#enter('listContainers');
    return [...this.containers.values()].map((c) => ({ ...this.#status(c), podSandboxId: c.sandboxId }));
  }

  async containerStatus(id: string): Promise<CriContainerStatus> {
    await this.#enter('containerStatus', id);
    return this.#status(this.#found(this.containers, id));
  }

  async execSync(): Promise<{ stdout: Buffer; stderr: Buffer; exitCode: number }> {
    await this.#enter('execSync');
    return { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), exitCode: this.execExit };
  }

  /** A container ends by itself. */
  exit(id: string, exitCode: number): void {
    const container = this.containers.get(id);
    if (container?.state !== 'CONTAINER_RUNNING') return;
    container.state = 'CONTAINER_EXITED';
    container.exitCode = exitCode;
    container.finishedAt = this.#ns();
    this.emit({ type: 'container', kind: 'exited', containerId: id, sandboxId: container.sandboxId, exitCode });
  }

  /** The newest container of that name. */
  byName(name: string): FakeContainer | undefined {
    return [...this.containers.values()].filter((c) => c.config.metadata.name === name).at(-1);
  }

  running(): string[] {
    return [...this.containers.values()]
      .filter((c) => c.state === 'CONTAINER_RUNNING')
      .map((c) => c.config.metadata.name)
      .sort();
  }

  #found<T>(map: Map<string, T>, id: string): T {
    const found = map.get(id);
    if (found === undefined) throw new AgentError({ code: 'CRI_NOT_FOUND', message: `${id}: not found` });
    return found;
  }

  #sandbox(s: Sandbox): PodSandboxStatus {
    const network = s.config.linux?.securityContext?.namespaceOptions?.network ?? 'POD';
    return {
      id: s.id,
      metadata: s.config.metadata,
      state: s.ready ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
      createdAt: s.createdAt,
      labels: s.config.labels ?? {},
      annotations: s.config.annotations ?? {},
      runtimeHandler: '',
      ...(s.ready ? { network: { ip: s.ip } } : {}),
      linux: { namespaces: { options: { network } } },
    };
  }

  #status(c: FakeContainer): CriContainerStatus {
    return {
      id: c.id,
      metadata: c.config.metadata,
      state: c.state,
      createdAt: c.createdAt,
      startedAt: c.startedAt,
      finishedAt: c.finishedAt,
      exitCode: c.exitCode,
      image: c.config.image,
      imageRef: 'docker.io/library/busybox@sha256:aa',
      reason: c.state === 'CONTAINER_EXITED' ? c.reason || (c.exitCode === 0 ? 'Completed' : 'Error') : '',
      message: c.reason === 'StartError' ? this.message : '',
      labels: c.config.labels ?? {},
      annotations: c.config.annotations ?? {},
      mounts: [],
      logPath: `/var/log/pods/x/${c.config.metadata.name}/${c.config.metadata.attempt}.log`,
    };
  }
}

/** Images in memory: those named are there, others can be pulled unless `pull` throws. */
export class FakeImages {
  readonly present = new Set<string>();
  readonly calls: string[] = [];
  pull: (image: string, auth: unknown) => void | Promise<void> = () => {};

  constructor(...present: string[]) {
    for (const image of present) this.present.add(image);
  }

  get service(): ImageService {
    return this as unknown as ImageService;
  }

  async imageStatus(image: string): Promise<CriImage | undefined> {
    this.calls.push(`status ${image}`);
    return this.present.has(image) ? imageOf(image) : undefined;
  }

  async pullImage(spec: { image: string }, auth: unknown): Promise<string> {
    this.calls.push(`pull ${spec.image}`);
    await this.pull(spec.image, auth);
    this.present.add(spec.image);
    return `sha256:${spec.image}`;
  }
}

function imageOf(image: string): CriImage {
  return { id: `sha256:${image}`, repoTags: [image], repoDigests: [], size: 1234, username: '', pinned: false };
}
