/** One resource of the API. Names and verbs are those of `/api` and `/apis` of a 1.36 server. */
export interface Kind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  /** Only `create`, answered and never stored (reviews). */
  virtual: boolean;
  /** metadata.generation counts changes of the spec. */
  generation: boolean;
  subresources: readonly Subresource[];
  /** Kinds with the same storage show the same objects in two groups (events). */
  storage: string;
}

export interface Subresource {
  name: string;
  kind: string;
  verbs: readonly string[];
  group?: string;
  version?: string;
}

interface Row {
  group?: string;
  kind: string;
  plural: string;
  short?: string[];
  cluster?: true;
  all?: true;
  virtual?: true;
  generation?: true;
  status?: true;
  scale?: true;
  storage?: string;
  sub?: Subresource[];
}

const STATUS_VERBS = ['get', 'patch', 'update'];
const PROXY_VERBS = ['create', 'delete', 'get', 'patch', 'update'];
export const STANDARD_VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

const ROWS: readonly Row[] = [
  { kind: 'ConfigMap', plural: 'configmaps', short: ['cm'] },
  { kind: 'Endpoints', plural: 'endpoints', short: ['ep'] },
  { kind: 'Event', plural: 'events', short: ['ev'] },
  { kind: 'LimitRange', plural: 'limitranges', short: ['limits'] },
  {
    kind: 'Namespace',
    plural: 'namespaces',
    short: ['ns'],
    cluster: true,
    status: true,
    sub: [{ name: 'finalize', kind: 'Namespace', verbs: ['update'] }],
  },
  {
    kind: 'Node',
    plural: 'nodes',
    short: ['no'],
    cluster: true,
    status: true,
    sub: [{ name: 'proxy', kind: 'NodeProxyOptions', verbs: PROXY_VERBS }],
  },
  { kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', short: ['pvc'], status: true },
  { kind: 'PersistentVolume', plural: 'persistentvolumes', short: ['pv'], cluster: true, status: true },
  {
    kind: 'Pod',
    plural: 'pods',
    short: ['po'],
    all: true,
    status: true,
    generation: true,
    sub: [
      { name: 'attach', kind: 'PodAttachOptions', verbs: ['create', 'get'] },
      { name: 'binding', kind: 'Binding', verbs: ['create'] },
      { name: 'ephemeralcontainers', kind: 'Pod', verbs: STATUS_VERBS },
      { name: 'eviction', kind: 'Eviction', verbs: ['create'], group: 'policy', version: 'v1' },
      { name: 'exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
      { name: 'log', kind: 'Pod', verbs: ['get'] },
      { name: 'portforward', kind: 'PodPortForwardOptions', verbs: ['create', 'get'] },
      { name: 'resize', kind: 'Pod', verbs: STATUS_VERBS },
    ],
  },
  { kind: 'PodTemplate', plural: 'podtemplates' },
  {
    kind: 'ReplicationController',
    plural: 'replicationcontrollers',
    short: ['rc'],
    all: true,
    status: true,
    generation: true,
  },
  { kind: 'ResourceQuota', plural: 'resourcequotas', short: ['quota'], status: true },
  { kind: 'Secret', plural: 'secrets' },
  {
    kind: 'ServiceAccount',
    plural: 'serviceaccounts',
    short: ['sa'],
    sub: [{ name: 'token', kind: 'TokenRequest', verbs: ['create'], group: 'authentication.k8s.io', version: 'v1' }],
  },
  { kind: 'Service', plural: 'services', short: ['svc'], all: true, status: true },
  { group: 'apps', kind: 'ControllerRevision', plural: 'controllerrevisions' },
  {
    group: 'apps',
    kind: 'DaemonSet',
    plural: 'daemonsets',
    short: ['ds'],
    all: true,
    status: true,
    generation: true,
  },
  {
    group: 'apps',
    kind: 'Deployment',
    plural: 'deployments',
    short: ['deploy'],
    all: true,
    status: true,
    scale: true,
    generation: true,
  },
  {
    group: 'apps',
    kind: 'ReplicaSet',
    plural: 'replicasets',
    short: ['rs'],
    all: true,
    status: true,
    scale: true,
    generation: true,
  },
  {
    group: 'apps',
    kind: 'StatefulSet',
    plural: 'statefulsets',
    short: ['sts'],
    all: true,
    status: true,
    scale: true,
    generation: true,
  },
  { group: 'events.k8s.io', kind: 'Event', plural: 'events', short: ['ev'], storage: '/events' },
  {
    group: 'authentication.k8s.io',
    kind: 'SelfSubjectReview',
    plural: 'selfsubjectreviews',
    cluster: true,
    virtual: true,
  },
  { group: 'authentication.k8s.io', kind: 'TokenReview', plural: 'tokenreviews', cluster: true, virtual: true },
  {
    group: 'authorization.k8s.io',
    kind: 'LocalSubjectAccessReview',
    plural: 'localsubjectaccessreviews',
    virtual: true,
  },
  {
    group: 'authorization.k8s.io',
    kind: 'SelfSubjectAccessReview',
    plural: 'selfsubjectaccessreviews',
    cluster: true,
    virtual: true,
  },
  {
    group: 'authorization.k8s.io',
    kind: 'SubjectAccessReview',
    plural: 'subjectaccessreviews',
    cluster: true,
    virtual: true,
  },
  { group: 'batch', kind: 'CronJob', plural: 'cronjobs', short: ['cj'], all: true, status: true, generation: true },
  { group: 'batch', kind: 'Job', plural: 'jobs', all: true, status: true, generation: true },
  { group: 'coordination.k8s.io', kind: 'Lease', plural: 'leases' },
  { group: 'discovery.k8s.io', kind: 'EndpointSlice', plural: 'endpointslices', generation: true },
  { group: 'networking.k8s.io', kind: 'IngressClass', plural: 'ingressclasses', cluster: true, generation: true },
  {
    group: 'networking.k8s.io',
    kind: 'Ingress',
    plural: 'ingresses',
    short: ['ing'],
    status: true,
    generation: true,
  },
  {
    group: 'networking.k8s.io',
    kind: 'NetworkPolicy',
    plural: 'networkpolicies',
    short: ['netpol'],
    generation: true,
  },
  { group: 'node.k8s.io', kind: 'RuntimeClass', plural: 'runtimeclasses', cluster: true },
  {
    group: 'policy',
    kind: 'PodDisruptionBudget',
    plural: 'poddisruptionbudgets',
    short: ['pdb'],
    status: true,
    generation: true,
  },
  { group: 'rbac.authorization.k8s.io', kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', cluster: true },
  { group: 'rbac.authorization.k8s.io', kind: 'ClusterRole', plural: 'clusterroles', cluster: true },
  { group: 'rbac.authorization.k8s.io', kind: 'RoleBinding', plural: 'rolebindings' },
  { group: 'rbac.authorization.k8s.io', kind: 'Role', plural: 'roles' },
  {
    group: 'scheduling.k8s.io',
    kind: 'PriorityClass',
    plural: 'priorityclasses',
    short: ['pc'],
    cluster: true,
    generation: true,
  },
  { group: 'storage.k8s.io', kind: 'CSIDriver', plural: 'csidrivers', cluster: true },
  { group: 'storage.k8s.io', kind: 'CSINode', plural: 'csinodes', cluster: true },
  { group: 'storage.k8s.io', kind: 'StorageClass', plural: 'storageclasses', short: ['sc'], cluster: true },
  { group: 'storage.k8s.io', kind: 'VolumeAttachment', plural: 'volumeattachments', cluster: true, status: true },
];

function toKind(row: Row): Kind {
  const group = row.group ?? '';
  const sub = [...(row.sub ?? [])];
  if (row.status) sub.push({ name: 'status', kind: row.kind, verbs: STATUS_VERBS });
  if (row.scale) sub.push({ name: 'scale', kind: 'Scale', verbs: STATUS_VERBS, group: 'autoscaling', version: 'v1' });
  return {
    group,
    version: 'v1',
    kind: row.kind,
    plural: row.plural,
    singular: row.kind.toLowerCase(),
    shortNames: row.short ?? [],
    categories: row.all ? ['all'] : [],
    namespaced: row.cluster !== true,
    virtual: row.virtual === true,
    generation: row.generation === true,
    subresources: sub.sort((a, b) => (a.name < b.name ? -1 : 1)),
    storage: row.storage ?? `${group}/${row.plural}`,
  };
}

export const KINDS: readonly Kind[] = ROWS.map(toKind);

const byPath = new Map(KINDS.map((kind) => [`${kind.group}/${kind.plural}`, kind]));
const byName = new Map(KINDS.map((kind) => [`${kind.group}/${kind.kind}`, kind]));

export function findKind(group: string, plural: string): Kind | undefined {
  return byPath.get(`${group}/${plural}`);
}

export function kindByName(apiVersion: string, kind: string): Kind | undefined {
  const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
  return byName.get(`${group}/${kind}`);
}

/** A kind that is known to exist, by group and plural. */
export function kindOf(group: string, plural: string): Kind {
  const kind = findKind(group, plural);
  if (!kind) throw new Error(`no kind ${group}/${plural}`);
  return kind;
}

export function apiVersionOf(kind: Pick<Kind, 'group' | 'version'>): string {
  return kind.group ? `${kind.group}/${kind.version}` : kind.version;
}

export const K = {
  pods: kindOf('', 'pods'),
  nodes: kindOf('', 'nodes'),
  namespaces: kindOf('', 'namespaces'),
  secrets: kindOf('', 'secrets'),
  configMaps: kindOf('', 'configmaps'),
  services: kindOf('', 'services'),
  endpoints: kindOf('', 'endpoints'),
  events: kindOf('', 'events'),
  serviceAccounts: kindOf('', 'serviceaccounts'),
  persistentVolumeClaims: kindOf('', 'persistentvolumeclaims'),
  deployments: kindOf('apps', 'deployments'),
  replicaSets: kindOf('apps', 'replicasets'),
  leases: kindOf('coordination.k8s.io', 'leases'),
  endpointSlices: kindOf('discovery.k8s.io', 'endpointslices'),
  clusterRoles: kindOf('rbac.authorization.k8s.io', 'clusterroles'),
  clusterRoleBindings: kindOf('rbac.authorization.k8s.io', 'clusterrolebindings'),
  roles: kindOf('rbac.authorization.k8s.io', 'roles'),
  roleBindings: kindOf('rbac.authorization.k8s.io', 'rolebindings'),
  priorityClasses: kindOf('scheduling.k8s.io', 'priorityclasses'),
} as const;
