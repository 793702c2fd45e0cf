import { silentLogger } from '../../src/core/index.ts';
import { ImagePuller } from '../../src/kubelet/images/index.ts';
import { createProbeRunner, PodManager, type PodManagerOptions } from '../../src/kubelet/pods/index.ts';
import { FakeClock, settle } from './clock.ts';
import { FakeMaterials, FakePodApi, FakeRecorder } from './pods.ts';
import { FakeImages, FakeRuntime } from './runtime.ts';

/** A node in memory: manager, runtime, API server and clock. */
export class FakeNode {
  readonly clock = new FakeClock();
  readonly api = new FakePodApi();
  readonly runtime = new FakeRuntime(this.clock);
  readonly images = new FakeImages('busybox:1');
  readonly materials = new FakeMaterials();
  readonly recorder = new FakeRecorder();
  manager: PodManager;
  abort = new AbortController();
  readonly #extra: Partial<PodManagerOptions>;

  constructor(extra: Partial<PodManagerOptions> = {}) {
    this.#extra = extra;
    this.manager = this.#make();
  }

  #make(): PodManager {
    const { clock, api, runtime, images, materials, recorder } = this;
    const log = silentLogger;
    return new PodManager({
      source: api,
      runtime: runtime.service,
      events: runtime,
      images: new ImagePuller({
        images: images.service,
        clock,
        log,
        secret: () => Promise.reject(new Error('no such secret')),
      }),
      materials: materials.service,
      recorder,
      client: api.client,
      probes: createProbeRunner({ runtime: runtime.service, recorder, clock }),
      nodeName: 'n1',
      hostIps: () => ['10.99.0.2'],
      serverMinor: () => 36,
      clock,
      log,
      // No folder can be made there, and no link is needed.
      logLinkDir: '/proc/none',
      slots: 2,
      ...this.#extra,
    });
  }

  async start(): Promise<void> {
    await this.manager.start(this.abort.signal);
    await settle();
  }

  /** `kill -9` in the middle of whatever is under way, and another agent. */
  async kill(): Promise<void> {
    this.runtime.forgetSubscribers();
    this.api.forgetSubscribers();
    this.abort = new AbortController();
    this.manager = this.#make();
    await this.start();
  }

  /** The agent ends orderly and another starts; what it held in memory is gone. */
  async restart(): Promise<void> {
    await this.manager.stop();
    this.abort = new AbortController();
    this.manager = this.#make();
    await this.start();
  }
}
