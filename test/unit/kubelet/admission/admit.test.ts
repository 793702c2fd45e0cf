import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '../../../../src/kube/index.ts';
import { admit } from '../../../../src/kubelet/admission/index.ts';
import type { NodeFacts } from '../../../../src/kubelet/materials.ts';

const node: NodeFacts = {
  name: 'n1',
  labels: { 'kubernetes.io/os': 'linux', zone: 'a', cores: '4' },
  taints: [],
  allocatable: { cpu: '2', memory: '1Gi', pods: '3', 'ephemeral-storage': '1Gi' },
  hostIps: ['10.0.0.1'],
  hostname: 'n1',
};
let n = 0;
const pod = (spec: object = {}, metadata: object = {}): Pod =>
  ({
    metadata: { name: `p${n++}`, namespace: 'ns', uid: `u${n}`, ...metadata },
    spec: { containers: [{ name: 'main', image: 'x' }], ...spec },
  }) as unknown as Pod;
const asks = (requests: object) => pod({ containers: [{ name: 'main', resources: { requests } }] });
const verdict = (p: Pod, active: Pod[] = [], facts: NodeFacts = node) => {
  const result = admit(p, active, facts, { allowedUnsafeSysctls: ['net.ipv4.ip_forward', 'kernel.msg*'] });
  return result.admitted ? 'admitted' : `${result.reason}: ${result.message}`;
};

describe('admission', () => {
  it('says which resource is short, in upstream words', () => {
    assert.equal(
      verdict(asks({ cpu: '64' }), [asks({ cpu: '10m' })]),
      "OutOfcpu: Node didn't have enough resource: cpu, requested: 64000, used: 10, capacity: 2000",
    );
    assert.equal(
      verdict(asks({ memory: '2Gi' })),
      "OutOfmemory: Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
    );
    assert.match(verdict(asks({ 'ephemeral-storage': '2Gi' })), /^OutOfephemeral-storage: /);
    assert.match(verdict(asks({ 'hugepages-2Mi': '2Mi' })), /^OutOfhugepages-2Mi: /);
    assert.equal(
      verdict(pod(), [pod(), pod(), pod()]),
      "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
    );
  });

  it('counts what may run at one time: init containers, sidecars, overhead', () => {
    const c = (name: string, cpu: string, extra = {}) => ({ name, resources: { requests: { cpu } }, ...extra });
    const spec = {
      initContainers: [c('i1', '1500m'), c('s', '500m', { restartPolicy: 'Always' }), c('i2', '1500m')],
      containers: [c('a', '1')],
    };
    assert.equal(verdict(pod(spec)), 'admitted');
    assert.match(verdict(pod({ ...spec, overhead: { cpu: '1m' } })), /requested: 2001/);
    assert.match(verdict(pod({ ...spec, containers: [c('a', '1'), c('b', '501m')] })), /requested: 2001/);
  });

  it('leaves extended resources that the node does not know to others', () => {
    assert.equal(verdict(asks({ 'example.com/thing': '1' })), 'admitted');
    const facts = { ...node, allocatable: { ...node.allocatable, 'example.com/thing': '1' } };
    assert.match(verdict(asks({ 'example.com/thing': '2' }), [], facts), /^OutOfexample\.com\/thing: /);
  });

  it('refuses nothing for a node that has not told its resources and labels yet', () => {
    const facts = { ...node, labels: {}, allocatable: {} };
    assert.equal(verdict(pod({ nodeSelector: { a: 'b' } }), [pod()], facts), 'admitted');
    assert.equal(verdict(asks({ cpu: '64' }), [], facts), 'admitted');
  });

  it('looks at node selector and affinity with all operators', () => {
    const no = "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
    assert.equal(verdict(pod({ nodeSelector: { no: 'such' } })), no);
    assert.equal(verdict(pod({ nodeSelector: { zone: 'a' } })), 'admitted');
    const term = (key: string, operator: string, values?: string[], field = 'matchExpressions') =>
      pod({
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [{ [field]: [{ key, operator, values }] }],
            },
          },
        },
      });
    const fits: [string, string, string[]?, string?][] = [
      ['zone', 'In', ['a', 'b']],
      ['zone', 'NotIn', ['b']],
      ['none', 'NotIn', ['b']],
      ['zone', 'Exists'],
      ['none', 'DoesNotExist'],
      ['cores', 'Gt', ['3']],
      ['cores', 'Lt', ['5']],
      ['metadata.name', 'In', ['n1'], 'matchFields'],
    ];
    for (const t of fits) assert.equal(verdict(term(...t)), 'admitted', t.join(' '));
    const fails: [string, string, string[]?, string?][] = [
      ['zone', 'In', ['b']],
      ['zone', 'NotIn', ['a']],
      ['none', 'Exists'],
      ['zone', 'DoesNotExist'],
      ['cores', 'Gt', ['4']],
      ['zone', 'Lt', ['5']],
      ['zone', 'Whatever', ['a']],
      ['metadata.name', 'In', ['n2'], 'matchFields'],
    ];
    for (const t of fails) assert.equal(verdict(term(...t)), no, t.join(' '));
    const empty = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{}] } } };
    assert.equal(verdict(pod({ affinity: empty })), no);
  });

  it('keeps host ports apart', () => {
    const port = (hostPort: number, hostIP?: string, protocol?: string) =>
      pod({ containers: [{ name: 'a', ports: [{ containerPort: 80, hostPort, hostIP, protocol }] }] });
    const taken = "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    assert.equal(verdict(port(80), [port(80)]), taken);
    assert.equal(verdict(port(80, '1.1.1.1'), [port(80)]), taken);
    assert.equal(verdict(port(80, '1.1.1.1'), [port(80, '2.2.2.2')]), 'admitted');
    assert.equal(verdict(port(80, undefined, 'UDP'), [port(80)]), 'admitted');
    const host = pod({ hostNetwork: true, containers: [{ name: 'a', ports: [{ containerPort: 80 }] }] });
    assert.equal(verdict(host, [port(80)]), taken);
    assert.equal(verdict(port(80, '::'), [port(80, '10.0.0.1')]), 'admitted');
    assert.equal(verdict(port(80, '::'), [port(80, '0.0.0.0')]), taken);
    assert.equal(verdict(port(80, undefined, 'SCTP'), [port(80), port(80, undefined, 'UDP')]), 'admitted');
  });

  it('lets nothing begin while the node goes down', () => {
    const facts: NodeFacts = { ...node, shuttingDown: true };
    assert.equal(verdict(pod(), [], facts), 'NodeShutdown: Pod was rejected as the node is shutting down.');
  });

  it('minds NoExecute taints, except for static pods', () => {
    const facts: NodeFacts = {
      ...node,
      taints: [
        { key: 'sched', effect: 'NoSchedule' },
        { key: 'evict', value: 'v', effect: 'NoExecute' },
      ],
    };
    const no = 'TaintToleration: Predicate TaintToleration failed: node(s) had untolerated taint(s)';
    assert.equal(verdict(pod(), [], facts), no);
    for (const t of [
      { operator: 'Exists' },
      { key: 'evict', operator: 'Exists', effect: 'NoExecute' },
      { key: 'evict', value: 'v' },
    ])
      assert.equal(verdict(pod({ tolerations: [t] }), [], facts), 'admitted');
    for (const t of [{ key: 'evict', value: 'w' }, { key: 'evict', operator: 'Exists', effect: 'NoSchedule' }, {}])
      assert.equal(verdict(pod({ tolerations: [t] }), [], facts), no);
    const annotations = { 'kubernetes.io/config.source': 'file' };
    assert.equal(verdict(pod({}, { annotations }), [], facts), 'admitted');
  });

  it('allows safe sysctls, and others only by name', () => {
    const sysctl = (name: string, spec = {}) => pod({ securityContext: { sysctls: [{ name, value: '1' }] }, ...spec });
    assert.equal(verdict(sysctl('net.ipv4.tcp_syncookies')), 'admitted');
    assert.equal(verdict(sysctl('net/ipv4/ip_forward')), 'admitted');
    assert.equal(verdict(sysctl('kernel.msgmax')), 'admitted');
    assert.equal(
      verdict(sysctl('vm.swappiness')),
      'SysctlForbidden: forbidden sysctl: "vm.swappiness" not allowlisted',
    );
    assert.match(
      verdict(sysctl('net.ipv4.tcp_syncookies', { hostNetwork: true })),
      /not allowed with host net enabled$/,
    );
    assert.match(verdict(sysctl('kernel.shm_rmid_forced', { hostIPC: true })), /not allowed with host ipc enabled$/);
  });

  it('refuses what is not for this system', () => {
    assert.match(verdict(pod({ os: { name: 'windows' } })), /^PodOSNotSupported: /);
    assert.match(
      verdict(pod({}, { labels: { 'kubernetes.io/os': 'windows' } })),
      /^PodOSSelectorNodeLabelDoesNotMatch: /,
    );
    assert.match(
      verdict(pod({ securityContext: { supplementalGroupsPolicy: 'Strict' } })),
      /^SupplementalGroupsPolicyNotSupported: /,
    );
    assert.match(verdict(pod({ nodeName: 'other' })), /^NodeName: /);
  });

  it('allows what the kernel keeps apart for each pod, from the version on that does', () => {
    const of = (name: string, kernelRelease: string) =>
      admit(pod({ securityContext: { sysctls: [{ name, value: '1' }] } }), [], node, {
        allowedUnsafeSysctls: [],
        kernelRelease,
      }).admitted;
    assert.equal(of('net.ipv4.tcp_rmem', '4.9.337-tegra'), false);
    assert.equal(of('net.ipv4.tcp_keepalive_time', '4.9.337-tegra'), true);
    assert.equal(of('net.ipv4.tcp_rmem', '4.15.0'), true);
    assert.equal(of('net.ipv4.tcp_wmem', '5.10.104-tegra'), true);
    assert.equal(of('net.ipv4.tcp_syncookies', 'unknown'), true);
    assert.equal(of('net.ipv4.tcp_fin_timeout', 'unknown'), false);
  });

  it('lets a pod go on whose AppArmor profile was there when it began', () => {
    const p = pod({ securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } });
    const of = (phase: string) =>
      admit({ ...p, status: { phase } } as Pod, [], node, { allowedUnsafeSysctls: [], appArmor: false }).admitted;
    assert.deepEqual([of('Pending'), of('Running')], [false, true]);
  });

  it('refuses AppArmor profiles where the kernel has none', () => {
    const of = (spec: object, appArmor: boolean) => admit(pod(spec), [], node, { allowedUnsafeSysctls: [], appArmor });
    const wants = { securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } };
    assert.deepEqual(of(wants, false), {
      admitted: false,
      reason: 'AppArmor',
      message: 'Cannot enforce AppArmor: AppArmor is not enabled on the host',
    });
    assert.equal(of(wants, true).admitted, true);
    assert.equal(of({ securityContext: { appArmorProfile: { type: 'Unconfined' } } }, false).admitted, true);
  });

  it('refuses what it can not understand, and says where', () => {
    assert.match(verdict(asks({ cpu: 'lots' })), /^UnexpectedAdmissionError: "lots" is not a quantity/);
    assert.match(verdict(pod({ containers: 'x' })), /pod\.spec\.containers is not a list/);
    assert.match(verdict(pod({}, { uid: '../x' })), /metadata\.uid "\.\.\/x" is not a valid name/);
    assert.match(verdict(pod({ containers: [{ name: 'a' }, { name: 'a' }] })), /"a" is there twice/);
    const nulls = pod({ volumes: null, containers: [{ name: 'a', env: null, resources: { limits: null } }] });
    assert.equal(verdict(nulls), 'admitted');
  });
});
