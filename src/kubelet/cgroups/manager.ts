import { type Clock, describeError } from '../../core/index.ts';
import type { Exec } from '../../host/index.ts';
import type { Pod } from '../../kube/index.ts';
import { type QosClass, qosClassOf } from '../containers/qos.ts';
import { milliCpuToShares, podRequests } from '../containers/resources.ts';
import type { CgroupOptions } from '../materials.ts';
import { cgroupNames } from './names.ts';
import { type CgroupResources, podCgroupResources, settingsFor, unitProperties } from './settings.ts';
import { createSlices } from './slices.ts';
import { createCgroupTree } from './tree.ts';

export interface CgroupManager {
  /** Path of kubepods below a hierarchy's mount point. */
  readonly top: string;
  /** Makes kubepods and its tiers. Throws `POD_CGROUP`. */
  start(signal: AbortSignal): Promise<void>;
  /** Makes the pod's cgroup. Throws `POD_CGROUP`. */
  ensure(pod: Pod, signal: AbortSignal): Promise<void>;
  /** The CRI's cgroup_parent. */
  parent(pod: Pod): string;
  /** Removes the pod's cgroup with whatever still runs in it. Throws `POD_CGROUP`. */
  release(podUid: string, signal: AbortSignal): Promise<void>;
  /** Uids of all pods that have a cgroup. */
  pods(): Promise<string[]>;
}

export interface CgroupManagerOptions extends CgroupOptions {
  exec: Exec;
  clock: Clock;
  cpuCfsQuota: boolean;
  pidsLimit?: number | undefined;
}

const ENFORCE_AGAIN_MS = 60_000;
const TIERS: readonly QosClass[] = ['Guaranteed', 'Burstable', 'BestEffort'];

/** The pods' cgroups: kubepods bound to what pods may use, a tier for each lower QoS class, one cgroup a pod. */
export function createCgroupManager(options: CgroupManagerOptions): CgroupManager {
  const { version, driver } = options;
  const names = cgroupNames(driver, options.root ?? '/');
  const tree = createCgroupTree({ version, mount: options.mount ?? '/sys/fs/cgroup', clock: options.clock });
  const slices = createSlices(options.exec);
  const known = new Map<string, { qos: QosClass; milliCpu: number }>();
  let burstableShares = 2;

  async function apply(path: string, resources: CgroupResources, signal: AbortSignal): Promise<void> {
    if (driver === 'systemd') await slices.ensure(names.unit(path), unitProperties(resources, version), signal);
    else await tree.ensure(path, settingsFor(resources, version));
  }

  /** The tier's weight beside Guaranteed pods is the sum of what its pods ask for. */
  async function weighBurstable(signal: AbortSignal): Promise<void> {
    let milli = 0;
    for (const pod of known.values()) if (pod.qos === 'Burstable') milli += pod.milliCpu;
    const shares = milliCpuToShares(milli);
    if (shares === burstableShares) return;
    burstableShares = shares;
    await apply(names.qos('Burstable'), { cpuShares: shares }, signal);
  }

  /** Memory that pods use already may be more than they may: then that bound has to wait for some of it to go. */
  async function bindTop(signal: AbortSignal): Promise<void> {
    const { milliCpu, memoryBytes: memory, pids, clock, enforced } = options;
    const rest: CgroupResources = {
      ...(milliCpu !== undefined && { cpuShares: milliCpuToShares(milliCpu) }),
      ...(pids !== undefined && { pids }),
    };
    if (memory === undefined) return apply(names.top(), rest, signal);
    try {
      await apply(names.top(), { ...rest, memory }, signal);
      enforced?.(undefined);
    } catch (error) {
      if (signal.aborted) throw error;
      // Without processors set out there is no place for pods at all; without that bound there is.
      await apply(names.top(), rest, signal);
      enforced?.(describeError(error));
      const cancel = clock.after(ENFORCE_AGAIN_MS, () => {
        if (!signal.aborted) void bindTop(signal).catch(() => {});
      });
      signal.addEventListener('abort', cancel, { once: true });
    }
  }

  return {
    top: names.top(),
    async start(signal) {
      await bindTop(signal);
      for (const qos of ['Burstable', 'BestEffort'] as const) await apply(names.qos(qos), { cpuShares: 2 }, signal);
    },
    async ensure(pod, signal) {
      const uid = pod.metadata.uid as string;
      const qos = qosClassOf(pod);
      const resources = podCgroupResources(pod, { cpuCfsQuota: options.cpuCfsQuota, pidsLimit: options.pidsLimit });
      known.set(uid, { qos, milliCpu: podRequests(pod).get('cpu') ?? 0 });
      // A slice without bounds of its own comes by itself with the first container.
      if (driver === 'cgroupfs' || qos !== 'BestEffort' || resources.pids !== undefined)
        await apply(names.pod(uid, qos), resources, signal);
      if (qos === 'Burstable') await weighBurstable(signal);
    },
    parent: (pod) => names.parent(pod.metadata.uid as string, qosClassOf(pod)),
    async release(podUid, signal) {
      const qos = known.get(podUid)?.qos;
      for (const tier of qos ? [qos] : TIERS) {
        const path = names.pod(podUid, tier);
        if (driver === 'systemd') {
          const there = (await tree.children(names.qos(tier))).includes(names.unit(path));
          if (there) await slices.stop(names.unit(path), signal).catch(() => {});
        }
        await tree.remove(path, signal);
      }
      if (known.delete(podUid) && qos === 'Burstable') await weighBurstable(signal);
    },
    async pods() {
      const found = new Set<string>();
      for (const tier of TIERS)
        for (const folder of await tree.children(names.qos(tier))) {
          const uid = names.uidOf(folder);
          if (uid !== undefined) found.add(uid);
        }
      return [...found];
    },
  };
}
