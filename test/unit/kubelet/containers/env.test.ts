import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfigMap, Pod, Secret, Service } from '../../../../src/kube/index.ts';
import {
  type AnyContainer,
  defaultLimits,
  expand,
  goQuote,
  makeEnvironment,
  resourceField,
  serviceVariables,
} from '../../../../src/kubelet/containers/index.ts';

const pod = {
  metadata: {
    name: 'p',
    namespace: 'ns',
    uid: 'u',
    labels: { app: 'x', "we'ird": 'l' },
    annotations: { note: 'a\nb' },
  },
  spec: { nodeName: 'n1', serviceAccountName: 'sa', containers: [{ name: 'main' }] },
} as unknown as Pod;

const objects: Record<string, ConfigMap | Secret> = {
  'ConfigMap/cm': { data: { a: '1', 'b.c': '2', '1x': '3', __proto__x: 'p', '=bad': 'x' } },
  'Secret/s': { data: { pw: Buffer.from('hun$(A)ter').toString('base64') } },
};

function envOf(container: Partial<AnyContainer>, extra: object = {}) {
  const full = { name: 'main', ...container } as AnyContainer;
  return makeEnvironment({
    pod,
    container: full,
    resolved: (kind, name) => objects[`${kind}/${name}`],
    serviceVariables: new Map([['SVC_SERVICE_HOST', '10.43.0.7']]),
    allocatable: { cpu: '4', memory: '1Gi' },
    hostIps: ['10.0.0.1', 'fd00::1'],
    podIps: ['10.42.0.2', 'fd01::2'],
    relaxedNames: true,
    ...extra,
  });
}
const asObject = (container: Partial<AnyContainer>, extra = {}) =>
  Object.fromEntries([...envOf(container, extra).variables].filter(([k]) => k !== 'SVC_SERVICE_HOST'));

describe('the environment', () => {
  it('expands references to what came before and to Services, and leaves the rest', () => {
    const env = [
      { name: 'A', value: 'a' },
      { name: 'B', value: '$(A)-$$(A)-$(LATER)-$(SVC_SERVICE_HOST)' },
      { name: 'LATER', value: 'l' },
      { name: 'A', value: '$(A)2' },
    ];
    assert.deepEqual(asObject({ env }), { A: 'a2', B: 'a-$(A)-$(LATER)-10.43.0.7', LATER: 'l' });
  });

  it('takes fields of the pod', () => {
    const field = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
    const env = [
      field('NAME', 'metadata.name'),
      field('LABEL', "metadata.labels['app']"),
      field('NONE', "metadata.labels['none']"),
      field('NOTE', "metadata.annotations['note']"),
      field('NODE', 'spec.nodeName'),
      field('SA', 'spec.serviceAccountName'),
      field('IP', 'status.podIP'),
      field('IPS', 'status.podIPs'),
      field('HOST', 'status.hostIP'),
      field('HOSTS', 'status.hostIPs'),
    ];
    assert.deepEqual(asObject({ env }), {
      NAME: 'p',
      LABEL: 'x',
      NONE: '',
      NOTE: 'a\nb',
      NODE: 'n1',
      SA: 'sa',
      IP: '10.42.0.2',
      IPS: '10.42.0.2,fd01::2',
      HOST: '10.0.0.1',
      HOSTS: '10.0.0.1,fd00::1',
    });
    assert.throws(
      () => envOf({ env: [field('X', 'spec.secret')] }),
      /^AgentError: unsupported fieldPath: spec\.secret$/,
    );
  });

  it('takes resources in units of the divisor, rounded up, the node for what has no limit', () => {
    const resources = { limits: { cpu: '1500m' }, requests: { memory: '100Mi' } };
    const own = { name: 'main', resources };
    const value = (resource: string, divisor?: string) =>
      resourceField(pod, own, { resource, ...(divisor && { divisor }) }, { cpu: '4', memory: '1Gi' });
    assert.equal(value('limits.cpu'), '2');
    assert.equal(value('limits.cpu', '1m'), '1500');
    assert.equal(value('requests.memory', '1Mi'), '100');
    assert.equal(value('limits.memory', '1Gi'), '1');
    assert.equal(value('limits.memory', '0'), String(2 ** 30));
    assert.equal(value('requests.ephemeral-storage'), '0');
    assert.throws(() => value('limits.pods'), /unsupported container resource : limits\.pods/);
  });

  it("shows the pod's own limits where a container has none", () => {
    const limited = { ...pod, spec: { ...pod.spec, resources: { limits: { memory: '64Mi', cpu: '0' } } } };
    assert.deepEqual(defaultLimits(limited as Pod, { cpu: '4', memory: '1Gi', pods: '9' }), {
      cpu: '4',
      memory: '64Mi',
      pods: '9',
    });
  });

  it('takes keys and whole objects, env over envFrom, Services last', () => {
    const ref = (kind: 'configMapKeyRef' | 'secretKeyRef', name: string, key: string, optional?: boolean) => ({
      name: 'K',
      valueFrom: { [kind]: { name, key, optional } },
    });
    assert.deepEqual(
      asObject({ envFrom: [{ prefix: 'P_', configMapRef: { name: 'cm' } }], env: [{ name: 'P_a', value: 'mine' }] }),
      { P_a: 'mine', 'P_b.c': '2', P_1x: '3', P___proto__x: 'p' },
    );
    assert.deepEqual(asObject({ env: [ref('secretKeyRef', 's', 'pw')] }), { K: 'hun$(A)ter' });
    assert.deepEqual(
      asObject({ env: [ref('secretKeyRef', 's', 'no', true), ref('configMapKeyRef', 'no', 'k', true)] }),
      {},
    );
    assert.throws(
      () => envOf({ env: [ref('configMapKeyRef', 'absent', 'a')] }),
      /^AgentError: configmap "absent" not found$/,
    );
    assert.throws(
      () => envOf({ env: [ref('secretKeyRef', 's', 'k')] }),
      /^AgentError: couldn't find key k in Secret ns\/s$/,
    );
    assert.throws(() => envOf({ envFrom: [{ secretRef: { name: 'gone' } }] }), /^AgentError: secret "gone" not found$/);
    assert.deepEqual(asObject({ envFrom: [{ secretRef: { name: 'gone', optional: true } }] }), {});
    assert.equal(envOf({ env: [{ name: 'SVC_SERVICE_HOST', value: 'own' }] }).variables.get('SVC_SERVICE_HOST'), 'own');
  });

  it('skips names that can not be, with upstream event', () => {
    const envFrom = [{ configMapRef: { name: 'cm' } }];
    assert.deepEqual(envOf({ envFrom }).notices, [
      {
        type: 'Warning',
        reason: 'InvalidEnvironmentVariableNames',
        message:
          'Keys [=bad] from the EnvFrom configMap ns/cm were skipped since they are considered invalid environment variable names.',
      },
    ]);
    assert.match(envOf({ envFrom }, { relaxedNames: false }).notices[0]?.message ?? '', /^Keys \[1x, =bad\]/);
  });

  it('does not let values that double eat the memory', () => {
    const env = Array.from({ length: 60 }, (_, i) => ({
      name: `V${i}`,
      value: i === 0 ? 'x'.repeat(1000) : `$(V${i - 1})$(V${i - 1})`,
    }));
    assert.throws(() => envOf({ env }), /too large to start a process with/);
    const many = Array.from({ length: 5000 }, (_, i) => ({ name: `E${i}`, value: `$(E${i - 1})` }));
    assert.equal(Object.keys(asObject({ env: many })).length, 5000);
  });

  it('names the Services of the namespace and always the API server', () => {
    const service = (namespace: string, name: string, clusterIP: string, ports: object[]): Service =>
      ({ metadata: { name, namespace }, spec: { clusterIP, ports } }) as Service;
    const all = [
      service('default', 'kubernetes', '10.43.0.1', [{ name: 'https', port: 443, protocol: 'TCP' }]),
      service('ns', 'my-db', '10.43.0.9', [{ port: 5432 }, { name: 'm-x', port: 1, protocol: 'UDP' }]),
      service('ns', 'headless', 'None', [{ port: 1 }]),
      service('other', 'x', '10.43.0.3', [{ port: 1 }]),
    ];
    assert.deepEqual(Object.fromEntries(serviceVariables(all, 'ns', false)), {
      KUBERNETES_SERVICE_HOST: '10.43.0.1',
      KUBERNETES_SERVICE_PORT: '443',
      KUBERNETES_SERVICE_PORT_HTTPS: '443',
      KUBERNETES_PORT: 'tcp://10.43.0.1:443',
      KUBERNETES_PORT_443_TCP: 'tcp://10.43.0.1:443',
      KUBERNETES_PORT_443_TCP_PROTO: 'tcp',
      KUBERNETES_PORT_443_TCP_PORT: '443',
      KUBERNETES_PORT_443_TCP_ADDR: '10.43.0.1',
    });
    const linked = serviceVariables(all, 'ns', true);
    assert.equal(linked.get('MY_DB_PORT_1_UDP'), 'udp://10.43.0.9:1');
    assert.equal(linked.get('MY_DB_SERVICE_PORT_M_X'), '1');
    assert.equal(
      [...linked.keys()].some((k) => k.startsWith('HEADLESS') || k.startsWith('X_')),
      false,
    );
  });

  it('expands and quotes as Go does', () => {
    const of = (text: string) => expand(text, (name) => (name === 'A' ? 'v' : undefined));
    assert.deepEqual(['$(A)', '$A', '$', '$$', '$$$(A)', '$(A', '$()', 'x$(B)y', '$(A)$(A)'].map(of), [
      'v',
      '$A',
      '$',
      '$',
      '$v',
      '$(A',
      '$()',
      'x$(B)y',
      'vv',
    ]);
    assert.equal(goQuote('a"b\\\n\t\x01é\u00a0'), '"a\\"b\\\\\\n\\t\\x01é\\u00a0"');
  });
});
