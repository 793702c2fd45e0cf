/**
 * The CRI v1 messages as values (runtime.v1 of Kubernetes' cri-api; field names as protobuf's JSON form, 64-bit
 * integers as numbers, since sizes and nanosecond times of a board's life stay below 2^53 or may lose their last
 * digits; enums as their names). A field left out has protobuf's zero value. Only what the agent uses is here.
 */

export interface PodSandboxMetadata {
  name: string;
  uid: string;
  namespace: string;
  attempt: number;
}

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';

export interface NamespaceOption {
  network?: NamespaceMode;
  pid?: NamespaceMode;
  ipc?: NamespaceMode;
  targetId?: string;
  usernsOptions?: { mode: 'POD' | 'NODE'; uids?: IdMapping[]; gids?: IdMapping[] };
}

export interface IdMapping {
  hostId: number;
  containerId: number;
  length: number;
}

export interface SecurityProfile {
  profileType: 'RuntimeDefault' | 'Unconfined' | 'Localhost';
  localhostRef?: string;
}

export interface SELinuxOption {
  user?: string;
  role?: string;
  type?: string;
  level?: string;
}

export interface LinuxSandboxSecurityContext {
  namespaceOptions?: NamespaceOption;
  selinuxOptions?: SELinuxOption;
  runAsUser?: { value: number };
  runAsGroup?: { value: number };
  readonlyRootfs?: boolean;
  supplementalGroups?: number[];
  supplementalGroupsPolicy?: 'Merge' | 'Strict';
  privileged?: boolean;
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
}

export interface PortMapping {
  protocol?: 'TCP' | 'UDP' | 'SCTP';
  containerPort: number;
  hostPort: number;
  hostIp?: string;
}

export interface PodSandboxConfig {
  metadata: PodSandboxMetadata;
  hostname?: string;
  /** Containers' logPath is relative to it. */
  logDirectory?: string;
  dnsConfig?: { servers?: string[]; searches?: string[]; options?: string[] };
  portMappings?: PortMapping[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  linux?: {
    cgroupParent?: string;
    securityContext?: LinuxSandboxSecurityContext;
    sysctls?: Record<string, string>;
    overhead?: LinuxContainerResources;
    resources?: LinuxContainerResources;
  };
}

export interface LinuxContainerResources {
  cpuPeriod?: number;
  cpuQuota?: number;
  cpuShares?: number;
  memoryLimitInBytes?: number;
  oomScoreAdj?: number;
  cpusetCpus?: string;
  cpusetMems?: string;
  hugepageLimits?: { pageSize: string; limit: number }[];
  unified?: Record<string, string>;
  memorySwapLimitInBytes?: number;
}

export interface LinuxContainerSecurityContext {
  capabilities?: { addCapabilities?: string[]; dropCapabilities?: string[]; addAmbientCapabilities?: string[] };
  privileged?: boolean;
  namespaceOptions?: NamespaceOption;
  selinuxOptions?: SELinuxOption;
  runAsUser?: { value: number };
  runAsGroup?: { value: number };
  runAsUsername?: string;
  readonlyRootfs?: boolean;
  supplementalGroups?: number[];
  supplementalGroupsPolicy?: 'Merge' | 'Strict';
  noNewPrivs?: boolean;
  maskedPaths?: string[];
  readonlyPaths?: string[];
  seccomp?: SecurityProfile;
  apparmor?: SecurityProfile;
}

export interface Mount {
  containerPath: string;
  hostPath: string;
  readonly?: boolean;
  selinuxRelabel?: boolean;
  propagation?: 'PROPAGATION_PRIVATE' | 'PROPAGATION_HOST_TO_CONTAINER' | 'PROPAGATION_BIDIRECTIONAL';
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
  recursiveReadOnly?: boolean;
  /** Instead of a hostPath (containerd from 2.1 on): what the image holds, below `imageSubPath`. */
  image?: ImageSpec;
  imageSubPath?: string;
}

export interface ImageSpec {
  image: string;
  annotations?: Record<string, string>;
  userSpecifiedImage?: string;
  runtimeHandler?: string;
}

export interface ContainerMetadata {
  name: string;
  attempt: number;
}

export interface ContainerConfig {
  metadata: ContainerMetadata;
  image: ImageSpec;
  command?: string[];
  args?: string[];
  workingDir?: string;
  envs?: { key: string; value: string }[];
  mounts?: Mount[];
  devices?: { containerPath: string; hostPath: string; permissions: string }[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  logPath?: string;
  stdin?: boolean;
  stdinOnce?: boolean;
  tty?: boolean;
  linux?: { resources?: LinuxContainerResources; securityContext?: LinuxContainerSecurityContext };
  stopSignal?: string;
}

export type SandboxState = 'SANDBOX_READY' | 'SANDBOX_NOTREADY';

export interface PodSandbox {
  id: string;
  metadata: PodSandboxMetadata;
  state: SandboxState;
  /** Nanoseconds since the epoch. */
  createdAt: number;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  runtimeHandler: string;
}

export interface PodSandboxStatus extends PodSandbox {
  network?: { ip: string; additionalIps?: { ip: string }[] };
  linux?: { namespaces?: { options?: NamespaceOption } };
}

export type ContainerStateName = 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN';

export interface CriContainer {
  id: string;
  podSandboxId: string;
  metadata: ContainerMetadata;
  image: ImageSpec;
  imageRef: string;
  state: ContainerStateName;
  /** Nanoseconds since the epoch. */
  createdAt: number;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export interface CriContainerStatus {
  id: string;
  metadata: ContainerMetadata;
  state: ContainerStateName;
  /** Nanoseconds since the epoch; 0 = not yet. */
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  image: ImageSpec;
  imageRef: string;
  imageId?: string;
  /** `Completed`, `Error`, `OOMKilled`, `StartError` … as containerd says it. */
  reason: string;
  message: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  mounts: Mount[];
  logPath: string;
  user?: { linux?: { uid: number; gid: number; supplementalGroups?: number[] } };
  resources?: { linux?: LinuxContainerResources };
}

export interface CriImage {
  /** The image's config digest, `sha256:…`. */
  id: string;
  repoTags: string[];
  repoDigests: string[];
  size: number;
  uid?: { value: number };
  username: string;
  pinned: boolean;
}

export interface AuthConfig {
  username?: string;
  password?: string;
  auth?: string;
  serverAddress?: string;
  identityToken?: string;
  registryToken?: string;
}

export interface RuntimeVersion {
  runtimeName: string;
  runtimeVersion: string;
  runtimeApiVersion: string;
}

export interface RuntimeStatus {
  conditions: { type: 'RuntimeReady' | 'NetworkReady' | string; status: boolean; reason: string; message: string }[];
  runtimeHandlers: { name: string; features?: { recursiveReadOnlyMounts?: boolean; userNamespaces?: boolean } }[];
  features?: { supplementalGroupsPolicy?: boolean };
}

export interface ContainerUsage {
  id: string;
  metadata: ContainerMetadata;
  labels: Record<string, string>;
  cpu?: { timestamp: number; usageCoreNanoSeconds?: number; usageNanoCores?: number };
  memory?: {
    timestamp: number;
    workingSetBytes?: number;
    usageBytes?: number;
    rssBytes?: number;
    pageFaults?: number;
    majorPageFaults?: number;
    availableBytes?: number;
  };
  writableLayer?: { timestamp: number; usedBytes?: number; inodesUsed?: number };
}

export interface FilesystemUsage {
  timestamp: number;
  mountpoint: string;
  usedBytes: number;
  inodesUsed: number;
}

export interface CallOptions {
  signal?: AbortSignal;
  /** 120 s when left out (the kubelet's runtimeRequestTimeout). */
  timeoutMs?: number;
}

/**
 * CRI's RuntimeService. Calls throw AgentError with code `CRI_<gRPC status name>` (`CRI_NOT_FOUND`,
 * `CRI_UNAVAILABLE`, `CRI_DEADLINE_EXCEEDED`, `CRI_UNKNOWN`, …); the message is the runtime's own text, without a
 * prefix, since it ends up in pod statuses and events.
 */
export interface RuntimeService {
  version(options?: CallOptions): Promise<RuntimeVersion>;
  status(options?: CallOptions): Promise<RuntimeStatus>;
  runPodSandbox(config: PodSandboxConfig, runtimeHandler: string, options?: CallOptions): Promise<string>;
  stopPodSandbox(id: string, options?: CallOptions): Promise<void>;
  removePodSandbox(id: string, options?: CallOptions): Promise<void>;
  podSandboxStatus(id: string, options?: CallOptions): Promise<PodSandboxStatus>;
  listPodSandboxes(
    filter?: { id?: string; labels?: Record<string, string> },
    options?: CallOptions,
  ): Promise<PodSandbox[]>;
  createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandbox: PodSandboxConfig,
    options?: CallOptions,
  ): Promise<string>;
  startContainer(id: string, options?: CallOptions): Promise<void>;
  /** `timeoutSeconds`: from the stop signal to SIGKILL. */
  stopContainer(id: string, timeoutSeconds: number, options?: CallOptions): Promise<void>;
  removeContainer(id: string, options?: CallOptions): Promise<void>;
  listContainers(
    filter?: { id?: string; podSandboxId?: string; labels?: Record<string, string> },
    options?: CallOptions,
  ): Promise<CriContainer[]>;
  containerStatus(id: string, options?: CallOptions): Promise<CriContainerStatus>;
  updateContainerResources(id: string, resources: LinuxContainerResources, options?: CallOptions): Promise<void>;
  reopenContainerLog(id: string, options?: CallOptions): Promise<void>;
  execSync(
    id: string,
    cmd: readonly string[],
    timeoutSeconds: number,
    options?: CallOptions,
  ): Promise<{ stdout: Buffer; stderr: Buffer; exitCode: number }>;
  /** A one-time URL on the runtime's streaming server. */
  exec(
    request: { containerId: string; cmd: string[]; tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean },
    options?: CallOptions,
  ): Promise<string>;
  attach(
    request: { containerId: string; tty: boolean; stdin: boolean; stdout: boolean; stderr: boolean },
    options?: CallOptions,
  ): Promise<string>;
  portForward(request: { podSandboxId: string; port: number[] }, options?: CallOptions): Promise<string>;
  listContainerStats(
    filter?: { id?: string; podSandboxId?: string; labels?: Record<string, string> },
    options?: CallOptions,
  ): Promise<ContainerUsage[]>;
  updateRuntimeConfig(podCidr: string, options?: CallOptions): Promise<void>;
}

/** CRI's ImageService; errors as {@link RuntimeService}. */
export interface ImageService {
  listImages(filter?: string, options?: CallOptions): Promise<CriImage[]>;
  /** Undefined if the image is not there. */
  imageStatus(image: string, options?: CallOptions): Promise<CriImage | undefined>;
  /** Returns the image reference (id). No time limit of its own: give a signal. */
  pullImage(
    image: ImageSpec,
    auth: AuthConfig | undefined,
    sandbox: PodSandboxConfig | undefined,
    options?: CallOptions,
  ): Promise<string>;
  removeImage(image: string, options?: CallOptions): Promise<void>;
  imageFsInfo(
    options?: CallOptions,
  ): Promise<{ imageFilesystems: FilesystemUsage[]; containerFilesystems: FilesystemUsage[] }>;
}

/**
 * Something happened to a container or sandbox; look at the runtime for what. `resync`: events may have been lost
 * (stream broke, containerd restarted, slow relist): look at everything. `kind` is a hint; unknown happenings are
 * `changed`.
 */
export type RuntimeEvent =
  | {
      type: 'container';
      kind: 'created' | 'started' | 'exited' | 'deleted' | 'oom' | 'changed';
      containerId: string;
      sandboxId?: string;
      exitCode?: number;
      /** An exit of which CRI itself may not have taken note yet: whoever looks at once may find it running still. */
      early?: true;
    }
  | { type: 'images' }
  | { type: 'resync' };

/** Where runtime events come from. A subscriber gets `resync` first. */
export interface RuntimeEvents {
  subscribe(handler: (event: RuntimeEvent) => void): () => void;
}
