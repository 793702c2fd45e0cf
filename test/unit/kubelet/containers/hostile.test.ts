import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { AgentError } from '../../../../src/core/index.ts';
import type { Pod } from '../../../../src/kube/index.ts';
import { admit, assertWellFormed } from '../../../../src/kubelet/admission/index.ts';
import { cgroupNames, podCgroupResources, settingsFor } from '../../../../src/kubelet/cgroups/index.ts';
import {
  type AnyContainer,
  envReferences,
  hostsFile,
  makeContainerConfig,
  makeEnvironment,
  makeSandboxConfig,
  planMounts,
  podDns,
  podHostname,
  qosClassOf,
  type ResourceHost,
} from '../../../../src/kubelet/containers/index.ts';
import { downwardPayload } from '../../../../src/kubelet/volumes/downward.ts';
import { objectPayload } from '../../../../src/kubelet/volumes/payload.ts';
import { commonUser, volumeReferences, volumeSignature } from '../../../../src/kubelet/volumes/wishes.ts';

/** A pod with a bit of everything; the tests break it in random places. */
const WHOLE = {
  metadata: {
    name: 'p',
    namespace: 'ns',
    uid: 'u-1',
    labels: { app: 'x' },
    annotations: { 'container.apparmor.security.beta.kubernetes.io/a': 'unconfined' },
    deletionGracePeriodSeconds: 3,
  },
  spec: {
    nodeName: 'n1',
    hostname: 'h',
    subdomain: 's',
    setHostnameAsFQDN: true,
    restartPolicy: 'Always',
    serviceAccountName: 'sa',
    priority: 1,
    dnsPolicy: 'ClusterFirst',
    dnsConfig: { nameservers: ['1.1.1.1'], searches: ['a'], options: [{ name: 'ndots', value: '2' }] },
    enableServiceLinks: true,
    terminationGracePeriodSeconds: 30,
    overhead: { cpu: '10m' },
    resources: { requests: { cpu: '1' }, limits: { memory: '1Gi' } },
    nodeSelector: { a: 'b' },
    hostAliases: [{ ip: '1.1.1.1', hostnames: ['x'] }],
    tolerations: [{ key: 'k', operator: 'Exists', effect: 'NoExecute' }],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }],
        },
      },
    },
    securityContext: {
      runAsUser: 1,
      fsGroup: 2,
      supplementalGroups: [3],
      sysctls: [{ name: 'net.ipv4.tcp_syncookies', value: '1' }],
      seccompProfile: { type: 'Localhost', localhostProfile: 'x' },
    },
    volumes: [
      { name: 'c', configMap: { name: 'cm', items: [{ key: 'k', path: 'p', mode: 420 }], defaultMode: 420 } },
      { name: 's', secret: { secretName: 's', optional: true } },
      { name: 'd', downwardAPI: { items: [{ path: 'l', fieldRef: { fieldPath: 'metadata.labels' } }] } },
      { name: 'e', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      {
        name: 'j',
        projected: {
          sources: [{ serviceAccountToken: { path: 't', expirationSeconds: 3600 } }, { configMap: { name: 'x' } }],
        },
      },
    ],
    initContainers: [{ name: 'i', image: 'x', restartPolicy: 'Always', resources: { requests: { memory: '1Mi' } } }],
    containers: [
      {
        name: 'a',
        image: 'x',
        command: ['sh', '$(E)'],
        args: ['-c'],
        workingDir: '/',
        ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }],
        env: [
          { name: 'E', value: '$(F)' },
          { name: 'F', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
          { name: 'R', valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } },
          { name: 'K', valueFrom: { configMapKeyRef: { name: 'cm', key: 'k' } } },
        ],
        envFrom: [{ prefix: 'p', secretRef: { name: 's' } }],
        resources: { requests: { cpu: '10m' }, limits: { cpu: '1', 'hugepages-2Mi': '2Mi' } },
        volumeMounts: [{ name: 'e', mountPath: '/e', subPathExpr: '$(F)', mountPropagation: 'None' }],
        lifecycle: { preStop: { exec: { command: ['x'] } } },
        securityContext: { capabilities: { add: ['A'], drop: ['B'] }, runAsNonRoot: true, procMount: 'Default' },
      },
    ],
    ephemeralContainers: [{ name: 'dbg', image: 'x', targetContainerName: 'a' }],
  },
};

const JUNK: unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  2 ** 53,
  '',
  ' ',
  '..',
  '../../etc',
  '/',
  '__proto__',
  'constructor',
  '\0',
  '\u{1f600}',
  '$($($(',
  "metadata.labels['",
  "metadata.labels['constructor']",
  '1e400',
  '-5Gi',
  '99999999999E',
  'x'.repeat(10_000),
  [],
  [null],
  [[]],
  ['x', 1],
  {},
  { '*': 1 },
  { __proto__: null },
  JSON.parse('{"__proto__": {"polluted": true}, "toString": "x"}'),
];

function paths(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [at];
  return [...(at.length > 0 ? [at] : []), ...Object.entries(value).flatMap(([k, v]) => paths(v, [...at, k]))];
}

const PATHS = paths(WHOLE);
const hostile = fc
  .array(fc.tuple(fc.constantFrom(...PATHS), fc.oneof(fc.constantFrom(...JUNK), fc.jsonValue({ maxDepth: 2 }))), {
    maxLength: 4,
  })
  .map((changes) => {
    const pod = structuredClone(WHOLE) as unknown as Record<string | number, unknown>;
    for (const [path, junk] of changes) {
      let at: Record<string | number, unknown> | undefined = pod;
      for (const key of path.slice(0, -1)) at = at?.[key] as typeof at;
      if (typeof at === 'object' && at !== null) at[path.at(-1) as string] = structuredClone(junk);
    }
    return pod as unknown as Pod;
  });

const host: ResourceHost = {
  cgroupVersion: 2,
  memoryCapacity: 2 ** 30,
  cpuCfsQuota: true,
  swapController: true,
  swapBytes: 0,
  singleProcessOomKill: false,
  hugepageUnits: ['2MB'],
};
const node = {
  name: 'n1',
  labels: { a: 'b' },
  taints: [{ key: 'k', effect: 'NoExecute' }],
  allocatable: { cpu: '4', memory: '8Gi', pods: '110', 'hugepages-2Mi': '8Mi' },
  hostIps: ['10.0.0.1'],
  hostname: 'n1',
};
const active = structuredClone(WHOLE) as unknown as Pod;
active.spec.containers[0]!.ports = [];

/** Runs each part; only AgentErrors may come out. */
function tolerant<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    assert.ok(error instanceof AgentError, `${(error as Error)?.stack}`);
    return undefined;
  }
}

function isWellFormed(pod: Pod): boolean {
  assertWellFormed(pod);
  return true;
}

function useAll(pod: Pod): void {
  tolerant(() =>
    makeSandboxConfig(pod, {
      attempt: 0,
      cgroupParent: cgroupNames('cgroupfs', '/').parent(pod.metadata.uid as string, qosClassOf(pod)),
      logDir: '/l',
      dns: podDns(pod, {
        dns: { clusterDns: ['1.2.3.4'], clusterDomain: 'c', resolvConf: '/r' },
        host: { servers: [], searches: [], options: [] },
        hostIps: [],
      }).config,
      hostname: podHostname(pod, 'c'),
      host,
    }),
  );
  tolerant(() => settingsFor(podCgroupResources(pod, { cpuCfsQuota: true }), 1));
  tolerant(() => hostsFile(pod, { hostname: 'h', name: 'h', domain: '' }, ['1.1.1.1'], ''));
  tolerant(() => [volumeReferences(pod), volumeSignature(pod), commonUser(pod)]);
  for (const volume of pod.spec.volumes ?? []) {
    tolerant(() => downwardPayload(pod, volume.downwardAPI?.items, { allocatable: node.allocatable }));
    const { items, defaultMode } = volume.configMap ?? {};
    tolerant(() => objectPayload('ConfigMap', { data: { k: 'v' } }, { items, defaultMode, optional: false }));
  }
  const containers: AnyContainer[] = [...pod.spec.containers, ...(pod.spec.ephemeralContainers ?? [])];
  for (const container of containers) {
    tolerant(() => {
      envReferences(container);
      const { variables } = makeEnvironment({
        pod,
        container,
        resolved: (kind) => (kind === 'ConfigMap' ? { data: JSON.parse('{"k":"v","__proto__":"w"}') } : undefined),
        serviceVariables: new Map(),
        allocatable: node.allocatable,
        hostIps: [],
        podIps: ['1.1.1.1'],
        relaxedNames: true,
      });
      const volumes = new Map(
        (pod.spec.volumes ?? []).map((v) => [
          v.name,
          { hostPath: '/h', readOnly: false, selinuxRelabel: false, trusted: false },
        ]),
      );
      const planned = planMounts(container, volumes, { environment: variables, recursiveReadOnly: false });
      for (const { subPath } of planned) assert.equal(subPath.split('/').includes('..'), false);
      makeContainerConfig({
        pod,
        container,
        restartCount: 0,
        image: { ref: 'x', uid: 5 },
        environment: variables,
        mounts: [],
        host,
        security: { seccompRoot: '/s', seccompDefault: false },
      });
    });
  }
}

it('10,000 hostile pods: each is refused with a reason or made sense of, none crashes', () => {
  let wellFormed = 0;
  let admitted = 0;
  fc.assert(
    fc.property(hostile, (pod) => {
      const verdict = admit(pod, [active], node, { allowedUnsafeSysctls: [] });
      if (verdict.admitted) admitted++;
      else assert.ok(verdict.reason !== '' && verdict.message !== '');
      if (!tolerant(() => isWellFormed(pod))) return;
      wellFormed++;
      useAll(pod);
    }),
    { numRuns: 10_000 },
  );
  assert.ok(wellFormed > 1_000 && admitted > 100, `${wellFormed} well formed, ${admitted} admitted`);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
});
