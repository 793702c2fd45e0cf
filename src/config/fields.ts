/**
 * The one table of everything a person can configure. Flags, environment, config.yaml keys, defaults, validation, the
 * `--help` text and the type of {@link AgentConfig} all come from here, so that none of them can fall behind.
 *
 * Names, aliases, variables and defaults are k3s's own (pkg/cli/cmds/agent.go, log.go, root.go at 1.36): a unit file or
 * config.yaml written for `k3s agent` must do the same thing here.
 */
export interface FieldShape {
  /** Name in {@link AgentConfig}. */
  readonly key: string;
  /** Flag without dashes, and key in config.yaml. */
  readonly flag: string;
  readonly alias?: string;
  readonly env?: string;
  readonly type: 'string' | 'bool' | 'int';
  /** May be given several times; each time adds one item. */
  readonly list?: true;
  readonly default?: string | number | boolean;
  /** Checked when the value is not empty. `list` fields are checked item by item. */
  readonly check?: Check;
  /** The value is never shown: in errors, help or the Node's annotations. */
  readonly secret?: true;
  /** Left out of `--help`. */
  readonly hidden?: true;
  readonly help: string;
  /**
   * Known, but not done by this agent. `error`: ignoring it would change what the user relies on; `warning`: the node
   * works the same without it. Applies only when the value differs from the default.
   */
  readonly unsupported?: { readonly as: 'error' | 'warning'; readonly why: string };
}

export type Check = 'url' | 'port' | 'ip' | 'ips' | 'dnsNames' | 'label' | 'taint' | 'nodeName' | 'socket' | 'argument';

export const FIELDS = [
  {
    key: 'configFile',
    flag: 'config',
    alias: 'c',
    env: 'K3S_CONFIG_FILE',
    type: 'string',
    default: '/etc/rancher/k3s/config.yaml',
    help: '(config) Load configuration from this file or http(s) URL, then from the files of <it>.d',
  },
  { key: 'debug', flag: 'debug', env: 'K3S_DEBUG', type: 'bool', help: '(logging) Turn on debug logs' },
  { key: 'verbosity', flag: 'v', type: 'int', default: 0, help: '(logging) Number for the log level verbosity' },
  {
    key: 'vmodule',
    flag: 'vmodule',
    type: 'string',
    help: '(logging) Per-file verbosity of the Go programs',
    unsupported: {
      as: 'warning',
      why: 'it names source files of the original program, which this agent does not have',
    },
  },
  {
    key: 'logFile',
    flag: 'log',
    alias: 'l',
    type: 'string',
    help: '(logging) Log to file',
    unsupported: { as: 'warning', why: 'logs go to standard error, which the journal keeps and rotates' },
  },
  {
    key: 'alsoLogToStderr',
    flag: 'alsologtostderr',
    type: 'bool',
    help: '(logging) Log to standard error as well as file (this agent always does)',
  },
  {
    key: 'token',
    flag: 'token',
    alias: 't',
    env: 'K3S_TOKEN',
    type: 'string',
    secret: true,
    help: '(cluster) Token to use for authentication',
  },
  {
    key: 'tokenFile',
    flag: 'token-file',
    env: 'K3S_TOKEN_FILE',
    type: 'string',
    help: '(cluster) Token file to use for authentication; read again at every try to join',
  },
  {
    key: 'server',
    flag: 'server',
    alias: 's',
    env: 'K3S_URL',
    type: 'string',
    check: 'url',
    help: '(cluster) Server to connect to, such as https://server.example:6443',
  },
  {
    key: 'dataDir',
    flag: 'data-dir',
    alias: 'd',
    env: 'K3S_DATA_DIR',
    type: 'string',
    default: '/var/lib/rancher/k3s',
    help: '(agent/data) Folder to hold state',
  },
  {
    key: 'nodeName',
    flag: 'node-name',
    env: 'K3S_NODE_NAME',
    type: 'string',
    check: 'nodeName',
    help: '(agent/node) Node name; the host name when left out',
  },
  { key: 'withNodeId', flag: 'with-node-id', type: 'bool', help: '(agent/node) Append id to node name' },
  {
    key: 'nodeLabels',
    flag: 'node-label',
    type: 'string',
    list: true,
    check: 'label',
    help: '(agent/node) Registering and starting kubelet with set of labels (name=value)',
  },
  {
    key: 'nodeTaints',
    flag: 'node-taint',
    type: 'string',
    list: true,
    check: 'taint',
    help: '(agent/node) Registering kubelet with set of taints (name=value:Effect)',
  },
  {
    key: 'imageCredentialProviderBinDir',
    flag: 'image-credential-provider-bin-dir',
    type: 'string',
    default: '/var/lib/rancher/credentialprovider/bin',
    help: '(agent/node) Folder of the credential provider plugins',
    unsupported: {
      as: 'warning',
      why: "images of registries that need such a plugin can't be pulled; use imagePullSecrets or registries.yaml",
    },
  },
  {
    key: 'imageCredentialProviderConfig',
    flag: 'image-credential-provider-config',
    type: 'string',
    default: '/var/lib/rancher/credentialprovider/config.yaml',
    help: '(agent/node) Configuration file of the credential provider plugins',
    unsupported: {
      as: 'warning',
      why: "images of registries that need such a plugin can't be pulled; use imagePullSecrets or registries.yaml",
    },
  },
  {
    key: 'selinux',
    flag: 'selinux',
    env: 'K3S_SELINUX',
    type: 'bool',
    help: '(agent/node) Enable SELinux in containerd',
  },
  {
    key: 'lbServerPort',
    flag: 'lb-server-port',
    env: 'K3S_LB_SERVER_PORT',
    type: 'int',
    default: 6444,
    check: 'port',
    help: '(agent/node) Local port of the client load balancer; one less serves the API server if it has its own port',
  },
  {
    key: 'protectKernelDefaults',
    flag: 'protect-kernel-defaults',
    type: 'bool',
    help: '(agent/node) Refuse to start when kernel settings differ from what the kubelet wants, instead of setting them',
    unsupported: { as: 'warning', why: 'kernel settings that pods need are set, as without this flag' },
  },
  {
    key: 'containerRuntimeEndpoint',
    flag: 'container-runtime-endpoint',
    type: 'string',
    check: 'socket',
    help: '(agent/runtime) Use the CRI socket at this path instead of an own containerd',
  },
  {
    key: 'defaultRuntime',
    flag: 'default-runtime',
    type: 'string',
    help: '(agent/runtime) Set the default runtime in containerd',
  },
  {
    key: 'imageServiceEndpoint',
    flag: 'image-service-endpoint',
    type: 'string',
    check: 'socket',
    help: '(agent/runtime) CRI socket for images; the runtime endpoint when left out',
    unsupported: { as: 'error', why: 'images are asked of the same socket as containers' },
  },
  {
    key: 'pauseImage',
    flag: 'pause-image',
    type: 'string',
    default: 'rancher/mirrored-pause:3.10.2',
    help: '(agent/runtime) Image of the pod sandbox',
  },
  {
    key: 'snapshotter',
    flag: 'snapshotter',
    type: 'string',
    default: 'overlayfs',
    help: '(agent/runtime) Override default containerd snapshotter',
  },
  {
    key: 'privateRegistry',
    flag: 'private-registry',
    type: 'string',
    default: '/etc/rancher/k3s/registries.yaml',
    help: '(agent/runtime) Private registry configuration file',
  },
  {
    key: 'disableDefaultRegistryEndpoint',
    flag: 'disable-default-registry-endpoint',
    type: 'bool',
    help: '(agent/containerd) No fallback to the registry itself when a mirror is configured for it',
  },
  {
    key: 'nonrootDevices',
    flag: 'nonroot-devices',
    type: 'bool',
    help: '(agent/containerd) Let pods that do not run as root use devices',
  },
  {
    key: 'airgapExtraRegistry',
    flag: 'airgap-extra-registry',
    type: 'string',
    list: true,
    hidden: true,
    help: '(agent/runtime) Additional registry to tag airgap images as being sourced from',
  },
  {
    key: 'nodeIps',
    flag: 'node-ip',
    alias: 'i',
    type: 'string',
    list: true,
    check: 'ips',
    help: '(agent/networking) IPv4/IPv6 addresses to advertise for node',
  },
  {
    key: 'bindAddress',
    flag: 'bind-address',
    type: 'string',
    check: 'ip',
    help: '(agent/networking) Address that the kubelet API listens on (default: 0.0.0.0 or ::)',
  },
  {
    key: 'nodeExternalIps',
    flag: 'node-external-ip',
    type: 'string',
    list: true,
    check: 'ips',
    help: '(agent/networking) IPv4/IPv6 external IP addresses to advertise for node',
  },
  {
    key: 'nodeInternalDns',
    flag: 'node-internal-dns',
    type: 'string',
    list: true,
    check: 'dnsNames',
    help: '(agent/networking) Internal DNS names to advertise for node',
  },
  {
    key: 'nodeExternalDns',
    flag: 'node-external-dns',
    type: 'string',
    list: true,
    check: 'dnsNames',
    help: '(agent/networking) External DNS names to advertise for node',
  },
  {
    key: 'resolvConf',
    flag: 'resolv-conf',
    env: 'K3S_RESOLV_CONF',
    type: 'string',
    help: '(agent/networking) Kubelet resolv.conf file',
  },
  {
    key: 'flannelIface',
    flag: 'flannel-iface',
    type: 'string',
    help: '(agent/networking) Override default flannel interface',
  },
  {
    key: 'flannelConf',
    flag: 'flannel-conf',
    type: 'string',
    help: '(agent/networking) Override default flannel config file',
  },
  {
    key: 'flannelCniConf',
    flag: 'flannel-cni-conf',
    type: 'string',
    help: '(agent/networking) Override default flannel CNI config file',
  },
  {
    key: 'kubeletArgs',
    flag: 'kubelet-arg',
    type: 'string',
    list: true,
    check: 'argument',
    help: '(agent/flags) Customized flag for the kubelet',
  },
  {
    key: 'kubeProxyArgs',
    flag: 'kube-proxy-arg',
    type: 'string',
    list: true,
    check: 'argument',
    help: '(agent/flags) Customized flag for kube-proxy',
    unsupported: { as: 'warning', why: 'none of them is obeyed yet' },
  },
  {
    key: 'enablePprof',
    flag: 'enable-pprof',
    type: 'bool',
    help: '(experimental) Enable pprof endpoint on supervisor port',
    unsupported: { as: 'warning', why: 'pprof is a profiler of Go programs, and this agent is not one' },
  },
  {
    key: 'rootless',
    flag: 'rootless',
    type: 'bool',
    help: '(experimental) Run rootless',
    unsupported: { as: 'error', why: 'this agent needs root: it sets up mounts, cgroups and network devices itself' },
  },
  {
    key: 'preferBundledBin',
    flag: 'prefer-bundled-bin',
    type: 'bool',
    help: '(experimental) Prefer bundled userspace binaries over host binaries',
    unsupported: { as: 'warning', why: 'nothing is bundled; the programs of the host are used' },
  },
  {
    key: 'docker',
    flag: 'docker',
    type: 'bool',
    hidden: true,
    help: '(agent/runtime) Use cri-dockerd instead of containerd',
    unsupported: {
      as: 'error',
      why: 'no cri-dockerd is built in; run it yourself and give its socket with --container-runtime-endpoint',
    },
  },
  {
    key: 'vpnAuth',
    flag: 'vpn-auth',
    env: 'K3S_VPN_AUTH',
    type: 'string',
    secret: true,
    hidden: true,
    help: '(agent/networking) Credentials for the VPN provider',
    unsupported: {
      as: 'error',
      why: 'pod traffic would not go through the VPN; start the VPN on the host and give its address with --node-ip and its device with --flannel-iface',
    },
  },
  {
    key: 'vpnAuthFile',
    flag: 'vpn-auth-file',
    env: 'K3S_VPN_AUTH_FILE',
    type: 'string',
    hidden: true,
    help: '(agent/networking) File with credentials for the VPN provider',
    unsupported: {
      as: 'error',
      why: 'pod traffic would not go through the VPN; start the VPN on the host and give its address with --node-ip and its device with --flannel-iface',
    },
  },
  {
    key: 'disableApiserverLb',
    flag: 'disable-apiserver-lb',
    type: 'bool',
    help: '(agent/networking) Connect to the given server only, without the local load balancer',
  },
  {
    key: 'clusterSecret',
    flag: 'cluster-secret',
    env: 'K3S_CLUSTER_SECRET',
    type: 'string',
    secret: true,
    hidden: true,
    help: '(cluster) Old name of --token (k3s up to 1.24)',
  },
  {
    key: 'noFlannel',
    flag: 'no-flannel',
    type: 'bool',
    hidden: true,
    help: '(agent/networking) Flag of k3s up to 1.21',
    unsupported: {
      as: 'error',
      why: 'since k3s 1.22 the server decides this for all nodes (--flannel-backend=none there)',
    },
  },
  {
    key: 'disableSelinux',
    flag: 'disable-selinux',
    type: 'bool',
    hidden: true,
    help: '(agent/node) Flag of k3s up to 1.21',
    unsupported: { as: 'warning', why: 'SELinux support is off unless --selinux is given' },
  },
] as const satisfies readonly FieldShape[];

export type Field = (typeof FIELDS)[number];

type Plain<F extends FieldShape> = F['type'] extends 'bool' ? boolean : F['type'] extends 'int' ? number : string;
type ValueOf<F extends FieldShape> = F extends { list: true }
  ? readonly string[]
  : F['type'] extends 'bool'
    ? boolean
    : F extends { default: string | number }
      ? Plain<F>
      : Plain<F> | undefined;

/**
 * The configuration after flags, files, environment and defaults, checked, and read-only from then on. Fields are those
 * of {@link FIELDS} by their `key`. Lists of addresses and DNS names are already split at commas. `nodeName` is lower
 * case, and undefined when the host name decides.
 */
export type AgentConfig = { readonly [F in Field as F['key']]: ValueOf<F> };

const byName = new Map<string, FieldShape>();
for (const field of FIELDS as readonly FieldShape[]) {
  byName.set(field.flag, field);
  if (field.alias) byName.set(field.alias, field);
}

/** The field of a flag or config key, by name or alias. */
export function findField(name: string): FieldShape | undefined {
  return byName.get(name);
}

/** Every name a flag can have, for suggestions. */
export function fieldNames(): string[] {
  return (FIELDS as readonly FieldShape[]).filter((f) => !f.hidden && f.flag.length > 1).map((f) => f.flag);
}
