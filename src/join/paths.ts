import type { CertName } from './supervisor.ts';

/** Files of one agent, as k3s lays them out; others read them (scripts, crictl, backup tools). */
export interface JoinPaths {
  /** `<data-dir>/agent`. */
  readonly agentDir: string;
  readonly clientCa: string;
  readonly serverCa: string;
  readonly cert: (name: CertName) => string;
  readonly key: (name: CertName) => string;
  readonly kubeconfigs: Readonly<Record<'client-kubelet' | 'client-kube-proxy' | 'client-k3s-controller', string>>;
  readonly resolvConf: string;
  /** Last server configuration, for a start without a server. Not k3s's. */
  readonly lastConfig: string;
  readonly nodeDir: string;
  readonly password: string;
  readonly oldPassword: string;
  readonly nodeId: string;
}

/** `nodeDir` is /etc/rancher/node outside of tests. */
export function joinPaths(dataDir: string, nodeDir = '/etc/rancher/node'): JoinPaths {
  const agentDir = `${dataDir.replace(/\/+$/, '')}/agent`;
  return {
    agentDir,
    clientCa: `${agentDir}/client-ca.crt`,
    serverCa: `${agentDir}/server-ca.crt`,
    cert: (name) => `${agentDir}/${name}.crt`,
    key: (name) => `${agentDir}/${name}.key`,
    kubeconfigs: {
      'client-kubelet': `${agentDir}/kubelet.kubeconfig`,
      'client-kube-proxy': `${agentDir}/kubeproxy.kubeconfig`,
      'client-k3s-controller': `${agentDir}/k3scontroller.kubeconfig`,
    },
    resolvConf: `${agentDir}/etc/resolv.conf`,
    lastConfig: `${agentDir}/etc/k3s-agent-server-config.json`,
    nodeDir,
    password: `${nodeDir}/password`,
    oldPassword: `${agentDir}/node-password.txt`,
    nodeId: `${nodeDir}/id`,
  };
}

/** A kubeconfig that points to files, in the shape k3s writes (pkg/daemons/control/deps). */
export function kubeconfig(server: string, ca: string, cert: string, key: string): string {
  return `apiVersion: v1
clusters:
- cluster:
    server: ${server}
    certificate-authority: ${ca}
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    client-certificate: ${cert}
    client-key: ${key}
`;
}
