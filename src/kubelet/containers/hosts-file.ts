import type { Pod } from '../../kube/index.ts';
import type { PodHostname } from './hostname.ts';

/**
 * Text of the /etc/hosts that a pod's containers share. `hostFile`: the node's own, which pods on the host's network
 * get with their aliases added.
 */
export function hostsFile(pod: Pod, name: PodHostname, podIps: readonly string[], hostFile: string): string {
  if (pod.spec.hostNetwork) return `# Kubernetes-managed hosts file (host network).\n${hostFile}${aliases(pod)}`;
  const own = name.domain ? `${name.name}.${name.domain}\t${name.name}` : name.name;
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...podIps.map((ip) => `${ip}\t${own}`),
    aliases(pod),
  ].join('\n');
}

function aliases(pod: Pod): string {
  const list = pod.spec.hostAliases ?? [];
  if (list.length === 0) return '';
  const lines = list.map(({ ip, hostnames }) => `${ip ?? ''}\t${(hostnames ?? []).join('\t')}\n`);
  return `\n# Entries added by HostAliases.\n${lines.join('')}`;
}
