import { type Key, key } from './key.ts';
import { bool, boolMap, bytes, duration, int, int64, labels, list, oneOf, optional, text } from './kinds.ts';
import { graces, priorityGraces, reclaims, reservation, taints, thresholds } from './node-kinds.ts';

const NOTHING_RESERVED = { cpu: 0, memory: 0, ephemeralStorage: 0, pid: 0 };
const SECOND = 1_000;
const MINUTE = 60_000;

/**
 * Every setting of the kubelet that changes something here, by the name under which the agent reads it: its flag, its
 * field in a KubeletConfiguration (v1beta1, of that name unless said), its type and its default (k3s's, then the
 * kubelet's of 1.36). To add one, add a line; to make one that is parsed obeyed, read it from {@link KubeletSettings}
 * and strike its `notYet`. Durations are milliseconds, sizes bytes, cpu millicores. docs/kubelet-arg.md is made of this.
 */
export const KEYS = {
  // Pods
  maxPods: key({ flag: 'max-pods', kind: int({ min: 0 }), fallback: 110 }),
  podsPerCore: key({
    flag: 'pods-per-core',
    kind: int({ min: 0 }),
    fallback: 0,
  }),
  podPidsLimit: key({
    flag: 'pod-max-pids',
    kind: int64({ min: -1 }),
    fallback: -1,
    keepsZero: true,
    note: '-1 and 0: no limit of its own',
  }),
  staticPodPath: key({
    flag: 'pod-manifest-path',
    kind: optional(text),
    fallback: undefined,
    note: "default: DATA-DIR/agent/pod-manifests, k3s's",
  }),
  crashLoopMaxMs: key({
    field: 'crashLoopBackOff.maxContainerRestartPeriod',
    kind: duration({ minMs: SECOND, maxMs: 5 * MINUTE }),
    fallback: 5 * MINUTE,
  }),
  podLogsDir: key({ kind: text, fallback: '/var/log/pods', notYet: 'logs lie in /var/log/pods' }),

  // Names and addresses
  clusterDNS: key({
    flag: 'cluster-dns',
    kind: optional(list),
    fallback: undefined,
    note: "default: the server's",
  }),
  clusterDomain: key({
    flag: 'cluster-domain',
    kind: optional(text),
    fallback: undefined,
    note: "default: the server's",
  }),
  resolvConf: key({
    flag: 'resolv-conf',
    kind: optional(text),
    fallback: undefined,
    keepsZero: true,
    note: 'default: that of `--resolv-conf`, else the one of the host that names reachable servers',
  }),

  // The Node object
  nodeLabels: key({ flag: 'node-labels', field: null, kind: labels, fallback: [] }),
  registerWithTaints: key({
    flag: 'register-with-taints',
    kind: taints,
    fallback: [],
  }),
  nodeStatusMaxImages: key({
    flag: 'node-status-max-images',
    kind: int({ min: -1 }),
    fallback: 50,
    keepsZero: true,
  }),
  nodeStatusReportFrequency: key({ kind: duration(), fallback: 5 * MINUTE }),
  nodeLeaseDurationSeconds: key({ kind: int({ min: 1 }), fallback: 40 }),
  providerID: key({ flag: 'provider-id', kind: text, fallback: '', notYet: 'the cloud controller sets it' }),

  // The kubelet API
  address: key({
    flag: 'address',
    kind: optional(text),
    fallback: undefined,
    note: 'default: that of `--bind-address`',
  }),
  port: key({ flag: 'port', kind: int({ min: 1, max: 65535 }), fallback: 10250 }),
  healthzPort: key({
    flag: 'healthz-port',
    kind: int({ min: 0, max: 65535 }),
    fallback: 10248,
    keepsZero: true,
  }),
  healthzBindAddress: key({
    flag: 'healthz-bind-address',
    kind: optional(text),
    fallback: undefined,
  }),
  enableDebuggingHandlers: key({
    flag: 'enable-debugging-handlers',
    kind: bool,
    fallback: true,
  }),

  // Containers
  allowedUnsafeSysctls: key({
    flag: 'allowed-unsafe-sysctls',
    kind: list,
    fallback: [],
    note: 'beside net.ipv4.ip_forward and net.ipv6.conf.all.forwarding, which pods of ServiceLB need',
  }),
  seccompDefault: key({ flag: 'seccomp-default', kind: bool, fallback: false }),
  cpuCFSQuota: key({ flag: 'cpu-cfs-quota', kind: bool, fallback: true }),
  cpuCFSQuotaPeriod: key({
    flag: 'cpu-cfs-quota-period',
    kind: duration({ minMs: 1, maxMs: SECOND }),
    fallback: 100,
    notYet: 'the period is 100ms',
  }),
  swapBehavior: key({
    field: 'memorySwap.swapBehavior',
    kind: oneOf('', 'NoSwap', 'LimitedSwap'),
    fallback: '',
  }),
  singleProcessOOMKill: key({
    kind: optional(bool),
    fallback: undefined,
  }),
  containerLogMaxSize: key({
    flag: 'container-log-max-size',
    kind: bytes,
    fallback: 10 * 2 ** 20,
  }),
  containerLogMaxFiles: key({
    flag: 'container-log-max-files',
    kind: int({ min: 2 }),
    fallback: 5,
    keepsZero: true,
  }),
  containerLogMaxWorkers: key({
    kind: int({ min: 1 }),
    fallback: 1,
    keepsZero: true,
  }),
  containerLogMonitorInterval: key({
    kind: duration({ minMs: 3 * SECOND }),
    fallback: 10 * SECOND,
    keepsZero: true,
  }),

  // Images
  serializeImagePulls: key({ flag: 'serialize-image-pulls', kind: bool, fallback: false, keepsZero: true }),
  maxParallelImagePulls: key({
    kind: optional(int({ min: 1 })),
    fallback: undefined,
    keepsZero: true,
  }),
  imageCredentialProviderBinDir: key({
    flag: 'image-credential-provider-bin-dir',
    field: null,
    kind: optional(text),
    fallback: undefined,
    note: 'default: that of the flag of the same name of the agent',
  }),
  imageCredentialProviderConfig: key({
    flag: 'image-credential-provider-config',
    field: null,
    kind: optional(text),
    fallback: undefined,
    note: 'default: that of the flag of the same name of the agent',
  }),
  imagePullCredentialsVerificationPolicy: key({
    kind: oneOf('NeverVerify', 'NeverVerifyPreloadedImages', 'NeverVerifyAllowlistedImages', 'AlwaysVerify'),
    fallback: 'NeverVerifyPreloadedImages',
    notYet: 'an image that is there may be used by every pod',
  }),
  preloadedImagesVerificationAllowlist: key({
    kind: list,
    fallback: [],
    notYet: 'an image that is there may be used by every pod',
  }),
  imageGCHighThresholdPercent: key({
    flag: 'image-gc-high-threshold',
    kind: int({ min: 0, max: 100 }),
    fallback: 85,
    keepsZero: true,
  }),
  imageGCLowThresholdPercent: key({
    flag: 'image-gc-low-threshold',
    kind: int({ min: 0, max: 100 }),
    fallback: 80,
    keepsZero: true,
  }),
  imageMinimumGCAge: key({
    flag: 'minimum-image-ttl-duration',
    kind: duration({ minMs: 0 }),
    fallback: 2 * MINUTE,
  }),
  imageMaximumGCAge: key({
    kind: duration({ minMs: 0 }),
    fallback: 0,
  }),
  minimumContainerTtl: key({
    flag: 'minimum-container-ttl-duration',
    field: null,
    kind: duration(),
    fallback: 0,
    notYet: 'of each container the last dead one is kept',
  }),
  maximumDeadContainersPerContainer: key({
    flag: 'maximum-dead-containers-per-container',
    field: null,
    kind: int(),
    fallback: 1,
  }),
  maximumDeadContainers: key({
    flag: 'maximum-dead-containers',
    field: null,
    kind: int(),
    fallback: -1,
    notYet: 'of each container the last dead one is kept',
  }),

  // Resources of the node
  kubeReserved: key({ flag: 'kube-reserved', kind: reservation, fallback: NOTHING_RESERVED }),
  systemReserved: key({ flag: 'system-reserved', kind: reservation, fallback: NOTHING_RESERVED }),
  reservedSystemCPUs: key({
    flag: 'reserved-cpus',
    kind: text,
    fallback: '',
    notYet: 'no processors are set apart; reserve an amount with system-reserved=cpu=…',
  }),
  enforceNodeAllocatable: key({
    flag: 'enforce-node-allocatable',
    kind: list,
    fallback: ['pods'],
    notYet: 'pods are held to the allocatable, nothing else is',
  }),
  kubeReservedCgroup: key({
    flag: 'kube-reserved-cgroup',
    kind: text,
    fallback: '',
    notYet: 'no cgroup outside of the pods is limited',
  }),
  systemReservedCgroup: key({
    flag: 'system-reserved-cgroup',
    kind: text,
    fallback: '',
    notYet: 'no cgroup outside of the pods is limited',
  }),
  localStorageCapacityIsolation: key({
    flag: 'local-storage-capacity-isolation',
    kind: bool,
    fallback: true,
  }),

  // Eviction
  evictionHard: key({ flag: 'eviction-hard', kind: thresholds, fallback: {} }),
  evictionSoft: key({ flag: 'eviction-soft', kind: thresholds, fallback: {} }),
  evictionSoftGracePeriod: key({
    flag: 'eviction-soft-grace-period',
    kind: graces,
    fallback: {},
  }),
  evictionPressureTransitionPeriod: key({
    flag: 'eviction-pressure-transition-period',
    kind: duration(),
    fallback: 5 * MINUTE,
  }),
  evictionMaxPodGracePeriod: key({
    flag: 'eviction-max-pod-grace-period',
    kind: int(),
    fallback: 0,
  }),
  evictionMinimumReclaim: key({
    flag: 'eviction-minimum-reclaim',
    kind: reclaims,
    fallback: {},
  }),
  mergeDefaultEvictionSettings: key({ kind: bool, fallback: false }),
  experimentalAllocatableIgnoreEviction: key({
    flag: 'experimental-allocatable-ignore-eviction',
    field: null,
    kind: bool,
    fallback: false,
  }),

  // End of the node
  shutdownGracePeriod: key({
    kind: duration({ minMs: 0 }),
    fallback: 0,
  }),
  shutdownGracePeriodCriticalPods: key({
    kind: duration({ minMs: 0 }),
    fallback: 0,
  }),
  shutdownGracePeriodByPodPriority: key({
    kind: priorityGraces,
    fallback: [],
  }),

  // All of it
  featureGates: key({
    flag: 'feature-gates',
    kind: boolMap,
    fallback: {},
    note: 'parsed; a gate switches nothing here, and a warning names those that were given',
  }),
  rootDir: key({
    flag: 'root-dir',
    field: null,
    kind: text,
    fallback: '/var/lib/kubelet',
  }),
} as const satisfies Readonly<Record<string, Key<unknown>>>;

type Keys = typeof KEYS;

/**
 * What `--kubelet-arg`, kubelet configuration files and k3s's defaults come to; see {@link KEYS}. Read-only. Durations
 * are milliseconds, sizes bytes, cpu millicores.
 */
export type KubeletSettings = { readonly [K in keyof Keys]: Keys[K] extends Key<infer T> ? T : never };
