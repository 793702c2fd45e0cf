/** Files and folders of the agent that are not one room's own; places and names are k3s's. */
export interface AgentPaths {
  agentDir: string;
  supervisorLbState: string;
  apiLbState: string;
  netConf: string;
  conflist: string;
  plainConflist: string;
  desiredPods: string;
  podManifests: string;
  runtimeClasses: string;
  kubeletDir: string;
}

/** `kubeletDir`: the kubelet's root folder. */
export function agentPaths(dataDir: string, kubeletDir = '/var/lib/kubelet'): AgentPaths {
  const agentDir = `${dataDir.replace(/\/+$/, '')}/agent`;
  return {
    agentDir,
    supervisorLbState: `${agentDir}/etc/k3s-agent-load-balancer.json`,
    apiLbState: `${agentDir}/etc/k3s-api-server-agent-load-balancer.json`,
    netConf: `${agentDir}/etc/flannel/net-conf.json`,
    conflist: `${agentDir}/etc/cni/net.d/10-flannel.conflist`,
    plainConflist: `${agentDir}/etc/cni/plain.d/10-flannel.conflist`,
    podManifests: `${agentDir}/pod-manifests`,
    desiredPods: `${agentDir}/k3s-agent-pods.json`,
    runtimeClasses: `${agentDir}/k3s-agent-runtime-classes.json`,
    kubeletDir,
  };
}
