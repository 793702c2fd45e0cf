import { networkInterfaces } from 'node:os';
import { addressAt, familyOf, parseCidr } from '../../src/core/index.ts';
import { K, type Kind } from './kinds.ts';
import type { Dict } from './objects.ts';
import type { Settings } from './options.ts';
import type { Registry } from './registry/registry.ts';

/** Objects every k3s server has from the start. Idempotent: what is there stays. */
export function bootstrapObjects(registry: Registry, settings: Settings): void {
  const make = (kind: Kind, name: string, fields: Dict) => ensure(registry, { kind, name, fields });
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease']) make(K.namespaces, name, {});
  make(K.priorityClasses, 'system-cluster-critical', { value: 2_000_000_000 });
  make(K.priorityClasses, 'system-node-critical', { value: 2_000_001_000 });
  for (const [name, rules] of Object.entries(clusterRoles(settings.minor))) make(K.clusterRoles, name, { rules });
  for (const [name, subject] of BINDINGS)
    make(K.clusterRoleBindings, name, {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', ...subject }],
    });
  ensureApiServerService(registry, settings);
}

function ensure(
  registry: Registry,
  wanted: { kind: Kind; namespace?: string; name: string; labels?: Record<string, string>; fields: Dict },
): void {
  const { kind, namespace, name, labels, fields } = wanted;
  if (registry.store.get(kind, namespace, name)) return;
  const metadata = { name, ...(labels ? { labels } : {}) };
  registry.create(kind, namespace, { apiVersion: '', kind: kind.kind, metadata, ...fields });
}

/** The Service `kubernetes`, its Endpoints and EndpointSlice. */
export function ensureApiServerService(registry: Registry, settings: Settings): void {
  const clusterIP = addressAt(parseCidr(settings.serviceCidr), 1);
  ensure(registry, {
    kind: K.services,
    namespace: 'default',
    name: 'kubernetes',
    labels: { component: 'apiserver', provider: 'kubernetes' },
    fields: { spec: { clusterIP, ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: settings.port }] } },
  });
  const ports = [{ name: 'https', port: settings.port, protocol: 'TCP' }];
  const addressType = familyOf(settings.advertise) === 6 ? 'IPv6' : 'IPv4';
  setApiServers(registry, { addressType, ports, addresses: [settings.advertise] });
}

/** Points the `kubernetes` Service at the addresses of the API servers. */
function setApiServers(
  registry: Registry,
  wanted: {
    addressType: string;
    ports: { name: string; port: number; protocol: string }[];
    addresses: readonly string[];
  },
): void {
  const { addressType, ports, addresses } = wanted;
  const put = (kind: Kind, labels: Record<string, string>, fields: Dict) => {
    if (registry.store.get(kind, 'default', 'kubernetes'))
      registry.update({
        kind,
        namespace: 'default',
        name: 'kubernetes',
        change: (current) => ({ ...current, ...fields }),
      });
    else
      registry.create(kind, 'default', {
        apiVersion: '',
        kind: kind.kind,
        metadata: { name: 'kubernetes', labels },
        ...fields,
      });
  };
  put(
    K.endpoints,
    { 'endpointslice.kubernetes.io/skip-mirror': 'true' },
    { subsets: [{ addresses: addresses.map((ip) => ({ ip })), ports }] },
  );
  put(
    K.endpointSlices,
    { 'kubernetes.io/service-name': 'kubernetes' },
    { addressType, endpoints: addresses.map((ip) => ({ addresses: [ip], conditions: { ready: true } })), ports },
  );
}

/** The first address of this host that others may reach. */
export function hostAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return all.find((a) => a.family === 'IPv4' && !a.internal)?.address ?? '127.0.0.1';
}

const READ = ['get', 'list', 'watch'];
const DISCOVERY = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
  '/version/',
];

const clusterRoles = (minor: number): Readonly<Record<string, Dict[]>> => ({
  'cluster-admin': [
    { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
    { nonResourceURLs: ['*'], verbs: ['*'] },
  ],
  'system:discovery': [{ nonResourceURLs: DISCOVERY, verbs: ['get'] }],
  'system:basic-user': [
    {
      apiGroups: ['authorization.k8s.io'],
      resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
      verbs: ['create'],
    },
    { apiGroups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'], verbs: ['create'] },
  ],
  'system:node-proxier': [
    { apiGroups: [''], resources: ['endpoints', 'services'], verbs: ['list', 'watch'] },
    { apiGroups: [''], resources: ['nodes'], verbs: READ },
    { apiGroups: ['', 'events.k8s.io'], resources: ['events'], verbs: ['create', 'patch', 'update'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  ],
  'system:k3s-controller': minor < 22 ? OLD_K3S_CONTROLLER : K3S_CONTROLLER,
});

const K3S_CONTROLLER = [
  { apiGroups: [''], resources: ['nodes'], verbs: READ },
  { apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] },
  { apiGroups: [''], resources: ['namespaces'], verbs: ['list', 'watch'] },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies', 'clustercidrs'], verbs: ['list', 'watch'] },
  { apiGroups: [''], resources: ['endpoints', 'pods'], verbs: READ },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
];

const OLD_K3S_CONTROLLER = [
  { apiGroups: [''], resources: ['nodes'], verbs: ['get'] },
  { apiGroups: [''], resources: ['namespaces'], verbs: ['list', 'watch'] },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['list', 'watch'] },
  { apiGroups: [''], resources: ['endpoints', 'pods'], verbs: READ },
];

const BINDINGS: readonly (readonly [string, { kind: string; name: string }])[] = [
  ['cluster-admin', { kind: 'Group', name: 'system:masters' }],
  ['system:discovery', { kind: 'Group', name: 'system:authenticated' }],
  ['system:basic-user', { kind: 'Group', name: 'system:authenticated' }],
  ['system:node-proxier', { kind: 'User', name: 'system:kube-proxy' }],
  ['system:k3s-controller', { kind: 'User', name: 'system:k3s-controller' }],
];
