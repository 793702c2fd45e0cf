import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseDocuments } from '../../../../src/config/index.ts';
import { ManifestFault, staticPod } from '../../../../src/kubelet/static/manifest.ts';

const origin = { path: '/m/web.yaml', nodeName: 'Shop-1', seenAt: Date.parse('2026-11-24T10:00:00Z') };
const web = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {note: "1"}}
spec:
  hostNetwork: true
  containers:
  - name: main
    image: nginx
    ports: [{containerPort: 80}]
    livenessProbe: {httpGet: {port: 80}}
    resources: {limits: {cpu: 1}}
  volumes: [{name: a}, {name: b, hostPath: {path: /b}}]
`;
const podOf = async (text: string, from = origin) => staticPod((await parseDocuments(text))[0], from);

test('a manifest becomes a pod of this node with what the server would have filled in', async () => {
  const { metadata, spec, status } = await podOf(web);
  assert.equal(metadata.name, 'web-shop-1');
  assert.equal(metadata.namespace, 'default');
  assert.match(metadata.uid as string, /^[0-9a-f]{32}$/);
  assert.deepEqual(metadata.annotations, {
    note: '1',
    'kubernetes.io/config.hash': metadata.uid,
    'kubernetes.io/config.seen': '2026-11-24T10:00:00.000000000Z',
    'kubernetes.io/config.source': 'file',
  });
  assert.equal(spec.nodeName, 'Shop-1');
  assert.deepEqual(spec.tolerations, [{ operator: 'Exists', effect: 'NoExecute' }]);
  assert.equal(spec.restartPolicy, 'Always');
  assert.equal(spec.terminationGracePeriodSeconds, 30);
  const [main] = spec.containers;
  assert.equal(main?.imagePullPolicy, 'Always');
  assert.deepEqual(main?.ports, [{ containerPort: 80, protocol: 'TCP', hostPort: 80 }]);
  assert.deepEqual(main?.resources, { limits: { cpu: 1 }, requests: { cpu: 1 } });
  assert.deepEqual(main?.livenessProbe, {
    httpGet: { port: 80, path: '/', scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  assert.deepEqual(spec.volumes, [
    { name: 'a', emptyDir: {} },
    { name: 'b', hostPath: { path: '/b', type: '' } },
  ]);
  assert.equal(status?.phase, 'Pending');
});

test('labels and annotations without a value are empty ones', async () => {
  const { metadata } = await podOf(web.replace('{app: web}', '{app: web, edge: }').replace('note: "1"', 'note: '));
  assert.deepEqual(metadata.labels, { app: 'web', edge: '' });
  assert.equal(metadata.annotations?.note, '');
});

test('another content, path or node is another pod; another order of lines or time is not', async () => {
  const uid = async (text: string, from = origin) => (await podOf(text, from)).metadata.uid;
  const same = await uid(web);
  assert.equal(await uid(web, { ...origin, seenAt: 5 }), same);
  assert.equal(await uid(`kind: Pod\n${web.replace('kind: Pod\n', '')}`), same);
  assert.notEqual(await uid(web.replace('nginx', 'nginx:2')), same);
  assert.notEqual(await uid(web, { ...origin, path: '/m/b.yaml' }), same);
  assert.notEqual(await uid(web, { ...origin, nodeName: 'shop-2' }), same);
  assert.equal(await uid(web.replace('name: web,', 'name: web, uid: abc,')), 'abc');
});

test('what can not be a static pod is refused with the reason', async () => {
  const spec = (text: string) => `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: ${text}}`;
  const containers = 'containers: [{name: c, image: i}]';
  const cases: [string, RegExp][] = [
    ['', /no Pod/],
    ['[1]', /no Pod/],
    ['{apiVersion: apps/v1, kind: Deployment}', /apiVersion "apps\/v1", kind "Deployment"/],
    ['{apiVersion: v1, kind: Pod, spec: {}}', /name is needed/],
    ['{apiVersion: v1, kind: Pod, metadata: {name: A_b}, spec: {}}', /not a name/],
    ['{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ../x}, spec: {}}', /namespace is malformed/],
    ['{apiVersion: v1, kind: Pod, metadata: {name: a}}', /no spec/],
    ['{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {v: 1}}}', /labels must be texts: .*"v" in quotes/],
    ['{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: [b]}}', /annotations are no map/],
    [spec('{}'), /no containers/],
    [spec('{containers: [{name: c, image: i, command: 5}]}'), /command/],
    [spec(`{${containers}, serviceAccountName: x}`), /may not reference serviceaccounts/],
    [spec(`{${containers}, imagePullSecrets: [{name: x}]}`), /may not reference secrets/],
    [spec('{containers: [{name: c, image: i, envFrom: [{configMapRef: {name: x}}]}]}'), /reference configmaps/],
    [spec(`{${containers}, volumes: [{name: v, persistentVolumeClaim: {claimName: x}}]}`), /persistentvolumeclaims/],
    [
      spec(`{${containers}, volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]}`),
      /serviceaccounts \(via projected volumes\)/,
    ],
  ];
  for (const [text, message] of cases)
    await assert.rejects(podOf(text), (error) => error instanceof ManifestFault && message.test(error.message), text);
});

test('whatever a file holds, it is a pod or a fault', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (metadata, spec, volumes) => {
      const extra = typeof spec === 'object' && spec !== null && !Array.isArray(spec) ? spec : {};
      const containers = [{ name: 'c', image: 'i' }];
      for (const document of [
        metadata,
        { apiVersion: 'v1', kind: 'Pod', metadata, spec },
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a' }, spec: { ...extra, volumes, containers } },
      ])
        try {
          staticPod(document, origin);
        } catch (error) {
          assert.ok(error instanceof ManifestFault, String(error));
        }
    }),
    { numRuns: 300 },
  );
});
