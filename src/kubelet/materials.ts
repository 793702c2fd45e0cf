import type { Clock, Logger } from '../core/index.ts';
import type { ContainerConfig, LinuxContainerResources, PodSandboxConfig } from '../cri/types.ts';
import type { Exec } from '../host/index.ts';
import type { Container, EphemeralContainer, Pod, Secret, Service, Taint } from '../kube/index.ts';
import type { Shortage } from './admission/fit.ts';
import type { Refusal } from './admission/resize.ts';
import type { Pressure } from './eviction/signals.ts';
import type { ReferenceApi } from './references/reference.ts';
import type { StorageNode } from './volumes/storage.ts';

/**
 * The materials of a pod: everything between the Pod object and the CRI calls. The workers ask for them in this order:
 * admit, preparePod, mountVolumes, sandbox, then container for each container; release once nothing of the pod runs.
 * All calls are idempotent; one pod's failure never touches another's.
 */
export interface PodMaterials {
  /** Starts nothing by itself; reads what a previous run left, mounts the shared tmpfs, makes the QoS cgroups. */
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Pure. `active`: the pods that hold resources of this node, without `pod` itself. */
  admit(pod: Pod, active: readonly Pod[]): Admission;
  /** The pod's folder and cgroup. Throws AgentError `POD_CGROUP` or `POD_FOLDER` (upstream event: FailedCreatePodContainer). */
  preparePod(pod: Pod, signal: AbortSignal): Promise<void>;
  /**
   * Sets all volumes up, or brings them up to date with a changed pod (labels in downwardAPI). Afterwards they follow
   * their ConfigMaps and Secrets by themselves until release. Call it again with each new version of the pod, and after
   * a failure with a backoff. Rejects only by the signal.
   */
  mountVolumes(pod: Pod, signal: AbortSignal): Promise<VolumesResult>;
  /** Throws AgentError; the message is upstream's text for a FailedCreatePodSandBox event. */
  sandbox(pod: Pod, attempt: number, signal: AbortSignal): Promise<SandboxMaterials>;
  /**
   * Makes what the container needs on disk (etc-hosts, termination log, subPath mounts, log folder) and its
   * configuration. Throws AgentError `CONTAINER_CONFIG`; the message is upstream's text for the waiting reason
   * CreateContainerConfigError.
   */
  container(request: ContainerRequest, signal: AbortSignal): Promise<ContainerMaterials>;
  /** What a container may use now, for one that runs already. Pure. */
  containerResources(pod: Pod, container: AnyContainer): LinuxContainerResources;
  /** Undefined if the pod, as it asks to become, has room beside the others; else why not. Pure. */
  refuseResize(pod: Pod, others: readonly Pod[]): Refusal | undefined;
  /** Stable over restarts of the agent; what the `io.kubernetes.container.hash` annotation holds. */
  containerHash(container: AnyContainer): string;
  /**
   * Unmounts and removes volumes, the pod's folder and cgroup, forgets its tokens and references. Logs stay (see
   * {@link PodMaterials.removeLogs}). Throws AgentError `VOLUME_TEARDOWN` or `POD_CGROUP`: call again later.
   */
  release(podUid: string, signal: AbortSignal): Promise<void>;
  /** Removes /var/log/pods/NS_NAME_UID of a pod that is gone at the server. */
  removeLogs(pod: { namespace: string; name: string; uid: string }): Promise<void>;
  /** Uids that have a folder or cgroup here but are not in `known`: what a killed agent left. Give each to release. */
  orphans(known: ReadonlySet<string>): Promise<string[]>;
  /** A Secret by name, such as a pull secret. Throws AgentError `REFERENCE_ABSENT` or `REFERENCE_UNKNOWN`. */
  secret(namespace: string, name: string, signal: AbortSignal): Promise<Secret>;
  /** Calls with the uid of a pod whose volumes were not ready when something they waited for appeared. */
  onVolumesMayBeReady(handler: (podUid: string) => void): () => void;
  /** Log folders (`NS_NAME_UID`) whose pod is unknown are removed. */
  sweepLogs(known: ReadonlySet<string>): Promise<void>;
  /** Once all pods are known and the orphans released: volumes staged on this node that no pod uses are unstaged. */
  sweepStaged(): Promise<void>;
  /** Names of attachable volumes, for the Node's status; undefined while none is known. */
  volumesInUse(): string[] | undefined;
}

export type AnyContainer = Container | EphemeralContainer;

/** `shortages`: nothing else keeps this critical pod out, and others have to make place for it. */
export type Admission =
  | { admitted: true }
  | { admitted: false; reason: string; message: string; shortages?: readonly Shortage[] };

/** An event to record on the pod (or on the container, where a container was asked for). */
export interface Notice {
  type: 'Normal' | 'Warning';
  reason: string;
  message: string;
}

/** A volume as it lies on this host, ready to be mounted into a container. */
export interface MountedVolume {
  hostPath: string;
  /** The volume itself is read-only, whatever the mount says. */
  readOnly: boolean;
  selinuxRelabel: boolean;
  /** Nothing but this agent writes to it, so its paths can be trusted. */
  trusted: boolean;
  /** An image, as the pod names it: the runtime mounts what it holds; there is no hostPath. */
  image?: string;
  /** A block device: for volumeDevices, not to be mounted. */
  device?: boolean;
  /** Whom its files belong to: a supplemental group of the containers. */
  group?: number;
}

/** By volume name. */
export type PodVolumes = ReadonlyMap<string, MountedVolume>;

export type VolumesResult = { ready: true; volumes: PodVolumes } | { ready: false; failures: readonly VolumeFailure[] };

export interface VolumeFailure {
  volume: string;
  /** Of the event; `FailedMount` when left out. */
  reason?: string;
  /** Stable: `VOLUME_UNSUPPORTED`, `VOLUME_REFERENCE` (absent object or key), `VOLUME_TYPE` (hostPath check), `VOLUME_SETUP`. */
  code: string;
  /** Upstream's text for a FailedMount event: `MountVolume.SetUp failed for volume "v" : …`. */
  message: string;
}

export interface SandboxMaterials {
  config: PodSandboxConfig;
  /** Empty: the runtime's default. */
  runtimeHandler: string;
  notices: readonly Notice[];
}

export interface ContainerRequest {
  pod: Pod;
  container: AnyContainer;
  /** 0 for the first start. */
  restartCount: number;
  /** From the sandbox's status; the host's addresses for hostNetwork pods. */
  podIps: readonly string[];
  volumes: PodVolumes;
  /** From the image's status: `ref` is what the runtime knows it by (the id), user as the image says. */
  image: {
    ref: string;
    uid?: number | undefined;
    username?: string | undefined;
    /** Of image volumes, by volume name: what the runtime knows theirs by. */
    volumes?: ReadonlyMap<string, string> | undefined;
  };
  /** For an ephemeral container with targetContainerName: the target's runtime id. */
  targetContainerId?: string | undefined;
}

export interface ContainerMaterials {
  config: ContainerConfig;
  notices: readonly Notice[];
}

/** What a Pod needs to know about the node it runs on. */
export interface NodeFacts {
  name: string;
  labels: Readonly<Record<string, string>>;
  taints: readonly Taint[];
  /** Quantities by resource name: cpu, memory, pods, ephemeral-storage, hugepages-2Mi, … */
  allocatable: Readonly<Record<string, string>>;
  /** What the node is short of: keeps out pods that are not critical. None when left out. */
  pressures?: readonly Pressure[];
  /** The node is going down: no pod may begin any more. */
  shuttingDown?: boolean;
  /** First is status.hostIP. */
  hostIps: readonly string[];
  /** Kernel host name: what hostNetwork pods see. */
  hostname: string;
}

export interface ServiceSource {
  list(): readonly Service[];
  /** False until listed once: pods with enableServiceLinks wait for it as upstream does. */
  synced(): boolean;
}

export interface CgroupOptions {
  version: 1 | 2;
  driver: 'cgroupfs' | 'systemd';
  /** `/sys/fs/cgroup` when left out. */
  mount?: string;
  /** Cgroup under which kubepods lies, such as `/lab`; `/` when left out. */
  root?: string;
  /** Hard bound of kubepods: the node's allocatable. */
  memoryBytes?: number;
  milliCpu?: number;
  /** Tasks of all pods together. */
  pids?: number;
  /** Called once that bound holds, and whenever it can't be set (`fault`). */
  enforced?(fault: string | undefined): void;
}

export interface MaterialsOptions {
  /** `/var/lib/kubelet` unless told otherwise. */
  rootDir?: string;
  /** `/var/log/pods` unless told otherwise. */
  logDir?: string;
  client: ReferenceApi;
  clock: Clock;
  log: Logger;
  exec: Exec;
  /** In [0, 1); Math.random when left out. */
  random?: () => number;
  node(): NodeFacts;
  services: ServiceSource;
  dns: DnsOptions;
  cgroups: CgroupOptions;
  /** For claims, nfs and CSI drivers; left out: pods can't have those. */
  storage?: StorageNode;
  /** The runtime handler of a RuntimeClass; throws AgentError with upstream's text if there is none. */
  runtimeHandler(className: string, signal: AbortSignal): Promise<string>;
  /** A volume of a running pod can't be brought up to date, such as one whose ConfigMap was deleted. */
  volumeOutdated?(pod: Pod, failure: VolumeFailure): void;
  /** KubeletConfiguration seccompDefault. */
  seccompDefault?: boolean;
  allowedUnsafeSysctls?: readonly string[];
  /** As uname tells it; decides which sysctls are safe. */
  kernelRelease?: string;
  /** KubeletConfiguration podPidsLimit; no limit when left out. */
  podPidsLimit?: number;
  /** False: limits.cpu sets no quota (KubeletConfiguration cpuCFSQuota). */
  cpuCfsQuota?: boolean;
  /** Bytes of swap that burstable containers share (memorySwap LimitedSwap); none when left out. */
  swapBytes?: number;
  /** KubeletConfiguration singleProcessOOMKill. */
  singleProcessOomKill?: boolean;
  /** Bytes of RAM, for OOM scores. */
  memoryCapacity: number;
  /** What the runtime's Status said of its features. */
  runtimeSupports?: {
    recursiveReadOnly?: boolean;
    /** By runtime handler; empty if the runtime tells nothing of its handlers. */
    userNamespaces?: ReadonlyMap<string, boolean>;
    supplementalGroupsPolicy?: boolean;
  };
  /** Names of environment variables as servers from 1.32 allow them (true when left out), or only C identifiers. */
  relaxedEnvNames?: boolean;
}

export interface DnsOptions {
  clusterDns: readonly string[];
  clusterDomain: string;
  /** Path of the host's resolv.conf; undefined: none is used. */
  resolvConf: string | undefined;
}
