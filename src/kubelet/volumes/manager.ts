import { mkdir } from 'node:fs/promises';
import { type Clock, describeError, isAbort, type Logger, sayOnce } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { PodVolumes, VolumeFailure, VolumesResult } from '../materials.ts';
import type { References, Tokens } from '../references/index.ts';
import type { TrustBundles } from '../references/trust-bundles.ts';
import { volumeFailure } from './errors.ts';
import type { Layout } from './layout.ts';
import type { Mounter, MountRequest } from './mounter.ts';
import { ensureSharedTmpfs } from './shared-tmpfs.ts';
import { setUpVolume } from './sources.ts';
import type { Storage } from './storage.ts';
import { tearDownPod } from './teardown.ts';
import { usedVolumes } from './used.ts';
import { otherReferences, usesTrustBundles, volumeReferences, volumeSignature } from './wishes.ts';

export interface VolumeManagerOptions {
  layout: Layout;
  mounter: Mounter;
  references: References;
  tokens: Tokens;
  /** Claims, nfs and CSI drivers. */
  storage: Storage | undefined;
  /** `changed` is called after each change of any bundle. */
  makeTrustBundles(changed: () => void): Promise<TrustBundles>;
  clock: Clock;
  log: Logger;
  allocatable(): Readonly<Record<string, string>>;
  allocatableMemory(): number;
  /** A volume of a running pod can't be brought up to date; said once for each reason. */
  outdated?(pod: Pod, failure: VolumeFailure): void;
  /** Bound of the tmpfs that all pods share. */
  tmpfsBytes: number;
}

export interface VolumeManager {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** See PodMaterials.mountVolumes. */
  ensure(pod: Pod, signal: AbortSignal): Promise<VolumesResult>;
  /** Throws `VOLUME_TEARDOWN`. */
  release(podUid: string, signal: AbortSignal): Promise<void>;
  onMayBeReady(handler: (podUid: string) => void): () => void;
}

interface PodState {
  pod: Pod;
  signature: string;
  /** Set while all volumes stand. */
  volumes: PodVolumes | undefined;
  /** Monotonic; when tokens are due. */
  renewAt: number;
  gone: boolean;
  /** Work on one pod's volumes is done one after the other. */
  tail: Promise<unknown>;
}

/** After a refresh that left something old, the next one. */
const RETRY_MS = 60_000;

/** The volumes of all pods of the node: set up when asked, then kept up to date with what they are made from. */
export function createVolumeManager(options: VolumeManagerOptions): VolumeManager {
  const { layout, mounter, references, tokens, clock, log } = options;
  const pods = new Map<string, PodState>();
  const handlers = new Set<(podUid: string) => void>();
  const once = sayOnce();
  const abort = new AbortController();
  let life: AbortSignal = abort.signal;
  let timer: { at: number; cancel: () => void } | undefined;
  let unsubscribe: (() => void) | undefined;
  let trust: Promise<TrustBundles> | undefined;

  function inTurn<T>(state: PodState, work: () => Promise<T>): Promise<T> {
    const run = state.tail.then(work, work);
    state.tail = run.catch(() => {});
    return run;
  }

  async function setUpAll(state: PodState, signal: AbortSignal): Promise<VolumesResult> {
    const { pod } = state;
    const mounts: MountRequest[] = [];
    const renewals: number[] = [];
    const context = { ...options, pod, signal, mounts, renewals, trustBundles };
    const volumes = new Map<string, Awaited<ReturnType<typeof setUpVolume>>>();
    const failures: VolumeFailure[] = [];
    const wanted = usedVolumes(pod);
    const outcomes = await Promise.allSettled(wanted.map((volume) => setUpVolume(volume, context)));
    for (const [i, outcome] of outcomes.entries()) {
      const { name } = wanted[i] as { name: string };
      if (outcome.status === 'fulfilled') volumes.set(name, outcome.value);
      else if (signal.aborted) throw outcome.reason;
      else failures.push(volumeFailure(name, outcome.reason));
    }
    if (mounts.length > 0)
      await mounter.mount(mounts, signal).catch((error) => {
        if (isAbort(error)) throw error;
        for (const [name, { hostPath }] of volumes)
          if (mounts.some((m) => m.target === hostPath)) failures.push(volumeFailure(name, error));
      });
    state.renewAt = renewals.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...renewals);
    if (state.renewAt === 0) state.renewAt = clock.monotonic() + RETRY_MS;
    arm();
    if (failures.length > 0) return { ready: false, failures };
    return { ready: true, volumes };
  }

  function trustBundles(): Promise<TrustBundles> {
    trust ??= options.makeTrustBundles(() => {
      for (const [uid, state] of pods) if (usesTrustBundles(state.pod)) sourceChanged(uid, state);
    });
    return trust;
  }

  /** Something that a pod's volumes are made from, or wait for. */
  function sourceChanged(uid: string, state: PodState): void {
    if (state.volumes) refresh(uid, state);
    else for (const handler of handlers) handler(uid);
  }

  /** One timer for the token that is due first. */
  function arm(): void {
    let at = Number.POSITIVE_INFINITY;
    for (const state of pods.values()) if (state.volumes) at = Math.min(at, state.renewAt);
    if (timer && timer.at === at) return;
    timer?.cancel();
    timer = undefined;
    if (at === Number.POSITIVE_INFINITY || life.aborted) return;
    // Timers take 31 bits of milliseconds.
    const pause = Math.min(2 ** 31 - 1, Math.max(1_000, at - clock.monotonic()));
    timer = { at, cancel: clock.after(pause, renewDue) };
  }

  function renewDue(): void {
    timer = undefined;
    const now = clock.monotonic();
    for (const [uid, state] of pods) if (state.volumes && state.renewAt <= now) refresh(uid, state);
    arm();
  }

  function refresh(uid: string, state: PodState): void {
    // Until it is done, this one is not due again.
    state.renewAt = clock.monotonic() + RETRY_MS;
    void inTurn(state, async () => {
      if (state.gone || life.aborted) return;
      const result = await setUpAll(state, life);
      if (result.ready) return void once.clear(uid);
      state.renewAt = Math.min(state.renewAt, clock.monotonic() + RETRY_MS);
      arm();
      const text = result.failures.map((f) => f.message).join('; ');
      if (!once.changed(uid, text)) return;
      log.warn('a volume of a running pod keeps its old content', { pod: state.pod.metadata.name, error: text });
      for (const failure of result.failures.slice(0, 10)) options.outdated?.(state.pod, failure);
    }).catch((error) => {
      if (!isAbort(error)) log.warn('volumes could not be refreshed', { error: describeError(error) });
    });
  }

  return {
    async start(signal) {
      life = AbortSignal.any([signal, abort.signal]);
      await mkdir(layout.rootDir, { recursive: true });
      const shared = await mounter.share(layout.rootDir, signal).catch((error) => {
        if (signal.aborted) throw error;
        log.warn('mounts made by containers will not be seen by others', { error: describeError(error) });
      });
      if (shared) log.info('the folder of the pods was made a shared mount', { path: layout.rootDir });
      await ensureSharedTmpfs(layout.memoryDir, options.tmpfsBytes, mounter, signal);
      options.storage?.onMayBeReady((uid) => {
        for (const handler of handlers) handler(uid);
      });
      unsubscribe ??= references.onChange((_ref, holders) => {
        for (const uid of holders) {
          const state = pods.get(uid);
          if (state) sourceChanged(uid, state);
        }
      });
    },
    async stop() {
      abort.abort();
      unsubscribe?.();
      timer?.cancel();
      await Promise.all([...pods.values()].map((state) => state.tail));
      await trust?.then((bundles) => bundles.stop());
    },
    async ensure(pod, signal) {
      const uid = pod.metadata.uid as string;
      let state = pods.get(uid);
      if (!state) {
        state = {
          pod,
          signature: '',
          volumes: undefined,
          renewAt: Number.POSITIVE_INFINITY,
          gone: false,
          tail: Promise.resolve(),
        };
        pods.set(uid, state);
      }
      const mine = state;
      return inTurn(mine, async () => {
        const signature = volumeSignature(pod);
        mine.pod = pod;
        if (mine.volumes && mine.signature === signature) return { ready: true, volumes: mine.volumes } as const;
        references.hold(uid, { followed: volumeReferences(pod), kept: otherReferences(pod) });
        const result = await setUpAll(mine, signal);
        if (result.ready) {
          mine.volumes = result.volumes;
          mine.signature = signature;
          arm();
          return result;
        }
        // A pod that ran keeps what it has; only its first set-up can fail it.
        return mine.volumes ? ({ ready: true, volumes: mine.volumes } as const) : result;
      });
    },
    async release(podUid, signal) {
      const state = pods.get(podUid);
      if (state) state.gone = true;
      references.release(podUid);
      tokens.forget(podUid);
      once.clear(podUid);
      const work = () => tearDownPod(podUid, { layout, mounter, storage: options.storage, signal });
      await (state ? inTurn(state, work) : work());
      if (pods.get(podUid) === state) pods.delete(podUid);
      arm();
    },
    onMayBeReady(handler) {
      handlers.add(handler);
      return () => handlers.delete(handler);
    },
  };
}
