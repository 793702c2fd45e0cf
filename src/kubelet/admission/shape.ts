import { AgentError } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';

/**
 * The shape a Pod must have for the code here to read it: an ordinary server never sends another one, but nothing at
 * run time says so. A schema is `string`, `int`, `boolean`, `quantity` or `any`, `[schema]` for lists, `{ '*': schema }`
 * for maps, else an object of optional fields (required ones end in `!`); fields not named are not looked at.
 */
type Schema =
  | 'string'
  | 'int'
  | 'boolean'
  | 'quantity'
  | 'any'
  | readonly [Schema]
  | { readonly [field: string]: Schema };

const strings: Schema = { '*': 'string' };
const quantities: Schema = { '*': 'quantity' };
const resources: Schema = { requests: quantities, limits: quantities };
const profile: Schema = { type: 'string', localhostProfile: 'string' };
const selinux: Schema = { user: 'string', role: 'string', type: 'string', level: 'string' };
const keyRef: Schema = { name: 'string', key: 'string', optional: 'boolean' };
const objectRef: Schema = { name: 'string', optional: 'boolean' };
const fieldRef: Schema = { fieldPath: 'string', apiVersion: 'string' };
const resourceFieldRef: Schema = { containerName: 'string', resource: 'string', divisor: 'quantity' };
const items: Schema = [{ 'key!': 'string', 'path!': 'string', mode: 'int' }];
const downwardItems: Schema = [{ 'path!': 'string', fieldRef, resourceFieldRef, mode: 'int' }];

const container: Schema = {
  'name!': 'string',
  image: 'string',
  imagePullPolicy: 'string',
  command: ['string'],
  args: ['string'],
  workingDir: 'string',
  restartPolicy: 'string',
  targetContainerName: 'string',
  terminationMessagePath: 'string',
  terminationMessagePolicy: 'string',
  stdin: 'boolean',
  stdinOnce: 'boolean',
  tty: 'boolean',
  env: [
    {
      'name!': 'string',
      value: 'string',
      valueFrom: { fieldRef, resourceFieldRef, configMapKeyRef: keyRef, secretKeyRef: keyRef },
    },
  ],
  envFrom: [{ prefix: 'string', configMapRef: objectRef, secretRef: objectRef }],
  ports: [{ 'containerPort!': 'int', hostPort: 'int', hostIP: 'string', protocol: 'string', name: 'string' }],
  resources,
  volumeMounts: [
    {
      'name!': 'string',
      'mountPath!': 'string',
      subPath: 'string',
      subPathExpr: 'string',
      readOnly: 'boolean',
      recursiveReadOnly: 'string',
      mountPropagation: 'string',
    },
  ],
  volumeDevices: [{ 'name!': 'string', devicePath: 'string' }],
  lifecycle: { stopSignal: 'string', preStop: 'any', postStart: 'any' },
  securityContext: {
    capabilities: { add: ['string'], drop: ['string'] },
    privileged: 'boolean',
    seLinuxOptions: selinux,
    seccompProfile: profile,
    appArmorProfile: profile,
    runAsUser: 'int',
    runAsGroup: 'int',
    runAsNonRoot: 'boolean',
    readOnlyRootFilesystem: 'boolean',
    allowPrivilegeEscalation: 'boolean',
    procMount: 'string',
  },
};

const configMapSource: Schema = { name: 'string', optional: 'boolean', defaultMode: 'int', items };

const volume: Schema = {
  'name!': 'string',
  emptyDir: { medium: 'string', sizeLimit: 'quantity', stickyBit: 'boolean' },
  hostPath: { 'path!': 'string', type: 'string' },
  configMap: configMapSource,
  secret: { secretName: 'string', optional: 'boolean', defaultMode: 'int', items },
  downwardAPI: { defaultMode: 'int', items: downwardItems },
  projected: {
    defaultMode: 'int',
    sources: [
      {
        configMap: configMapSource,
        secret: configMapSource,
        downwardAPI: { items: downwardItems },
        serviceAccountToken: { audience: 'string', expirationSeconds: 'int', 'path!': 'string' },
        clusterTrustBundle: {
          name: 'string',
          signerName: 'string',
          labelSelector: {
            matchLabels: strings,
            matchExpressions: [{ 'key!': 'string', 'operator!': 'string', values: ['string'] }],
          },
          optional: 'boolean',
          'path!': 'string',
        },
      },
    ],
  },
};

const requirement: Schema = [{ 'key!': 'string', 'operator!': 'string', values: ['string'] }];

const pod: Schema = {
  'metadata!': {
    'name!': 'string',
    'namespace!': 'string',
    'uid!': 'string',
    labels: strings,
    annotations: strings,
    deletionGracePeriodSeconds: 'int',
    deletionTimestamp: 'string',
  },
  'spec!': {
    nodeName: 'string',
    hostname: 'string',
    subdomain: 'string',
    hostnameOverride: 'string',
    setHostnameAsFQDN: 'boolean',
    hostNetwork: 'boolean',
    hostPID: 'boolean',
    hostIPC: 'boolean',
    hostUsers: 'boolean',
    shareProcessNamespace: 'boolean',
    restartPolicy: 'string',
    serviceAccountName: 'string',
    runtimeClassName: 'string',
    priorityClassName: 'string',
    priority: 'int',
    dnsPolicy: 'string',
    dnsConfig: { nameservers: ['string'], searches: ['string'], options: [{ name: 'string', value: 'string' }] },
    enableServiceLinks: 'boolean',
    terminationGracePeriodSeconds: 'int',
    activeDeadlineSeconds: 'int',
    overhead: quantities,
    resources,
    os: { name: 'string' },
    nodeSelector: strings,
    hostAliases: [{ ip: 'string', hostnames: ['string'] }],
    imagePullSecrets: [{ name: 'string' }],
    tolerations: [{ key: 'string', operator: 'string', value: 'string', effect: 'string', tolerationSeconds: 'int' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: requirement, matchFields: requirement }],
        },
      },
    },
    securityContext: {
      runAsUser: 'int',
      runAsGroup: 'int',
      runAsNonRoot: 'boolean',
      fsGroup: 'int',
      fsGroupChangePolicy: 'string',
      supplementalGroups: ['int'],
      supplementalGroupsPolicy: 'string',
      seLinuxOptions: selinux,
      seccompProfile: profile,
      appArmorProfile: profile,
      sysctls: [{ 'name!': 'string', 'value!': 'string' }],
    },
    volumes: [volume],
    initContainers: [container],
    'containers!': [container],
    ephemeralContainers: [container],
  },
};

const checked = new WeakSet<Pod>();

/**
 * Throws `POD_MALFORMED` naming the field if the pod has not the shape its type promises. Fields that are null are
 * removed. An object is looked at once.
 */
export function assertWellFormed(candidate: Pod): void {
  if (checked.has(candidate)) return;
  check(candidate, pod, 'pod');
  for (const name of ['name', 'namespace', 'uid'] as const)
    assertName(candidate.metadata[name], `metadata.${name}`, 253);
  const { spec } = candidate;
  if (spec.containers.length === 0) throw malformed('spec.containers', 'is empty');
  const names = new Set<string>();
  for (const { name } of [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])]) {
    assertName(name, 'container name', 63);
    if (names.has(name)) throw malformed('container name', `"${name}" is there twice`);
    names.add(name);
  }
  const volumes = new Set<string>();
  for (const { name } of spec.volumes ?? []) {
    assertName(name, 'volume name', 63);
    if (volumes.has(name)) throw malformed('volume name', `"${name}" is there twice`);
    volumes.add(name);
  }
  checked.add(candidate);
}

function assertName(text: string | undefined, what: string, longest: number): void {
  if (!text || text.length > longest || !/^[A-Za-z0-9][-A-Za-z0-9_.]*$/.test(text))
    throw malformed(what, `"${(text ?? '').slice(0, 64)}" is not a valid name`);
}

function malformed(path: string, what: string): AgentError {
  return new AgentError({ code: 'POD_MALFORMED', message: `the pod can't be understood: ${path} ${what}` });
}

function check(value: unknown, schema: Schema, path: string): void {
  if (typeof schema === 'string') {
    if (!fits(value, schema)) throw malformed(path, `is not a valid ${schema}`);
    return;
  }
  if (Array.isArray(schema)) {
    if (!Array.isArray(value)) throw malformed(path, 'is not a list');
    value.forEach((entry, i) => {
      check(entry, schema[0] as Schema, `${path}[${i}]`);
    });
    return;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(path, 'is not an object');
  const object = value as Record<string, unknown>;
  const fields = schema as Record<string, Schema>;
  const every = fields['*'];
  if (every !== undefined) {
    for (const [key, entry] of Object.entries(object)) {
      if (entry === null) delete object[key];
      else check(entry, every, `${path}.${key.slice(0, 64)}`);
    }
    return;
  }
  for (const [field, inner] of Object.entries(fields)) {
    const required = field.endsWith('!');
    const key = required ? field.slice(0, -1) : field;
    const entry = Object.hasOwn(object, key) ? object[key] : undefined;
    if (entry === null || entry === undefined) {
      if (required) throw malformed(`${path}.${key}`, 'is missing');
      if (entry === null) delete object[key];
    } else check(entry, inner, `${path}.${key}`);
  }
}

function fits(value: unknown, kind: 'string' | 'int' | 'boolean' | 'quantity' | 'any'): boolean {
  switch (kind) {
    case 'any':
      return true;
    case 'int':
      return Number.isSafeInteger(value);
    case 'quantity':
      return typeof value === 'string' || Number.isFinite(value);
    default:
      return typeof value === kind;
  }
}
