import { AgentError } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';
import { specOf } from './spec.ts';

export interface PodHostname {
  /** What the kernel of the pod's namespace gets; with setHostnameAsFQDN the full name. */
  hostname: string;
  /** Name and domain of the hosts file. */
  name: string;
  /** Empty without a subdomain. */
  domain: string;
}

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** Host name and domain of a pod (kubelet GeneratePodHostNameAndDomain). Throws `POD_HOSTNAME` with upstream's text. */
export function podHostname(pod: Pod, clusterDomain: string): PodHostname {
  const spec = specOf(pod);
  if (spec.hostnameOverride !== undefined && spec.hostnameOverride !== '') {
    const name = spec.hostnameOverride;
    if (name.length > 64)
      throw fault(`pod HostnameOverride "${name.slice(0, 300)}" must be no more than 64 characters`);
    return { hostname: name, name, domain: '' };
  }
  let name = truncate(pod.metadata.name ?? '');
  if (spec.hostname) {
    assertLabel('Hostname', spec.hostname);
    name = spec.hostname;
  }
  let domain = '';
  if (spec.subdomain) {
    assertLabel('subdomain', spec.subdomain);
    domain = `${spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`;
  }
  if (!spec.setHostnameAsFQDN || domain === '') return { hostname: name, name, domain };
  const full = `${name}.${domain}`;
  if (full.length > 64)
    throw fault(
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (64 characters is the max, ${full.length} characters requested)`,
    );
  return { hostname: full, name, domain };
}

/** A host name has at most 63 characters and does not end in a dash or dot. */
function truncate(name: string): string {
  return name.length <= 63 ? name : name.slice(0, 63).replace(/[-.]+$/, '');
}

function assertLabel(what: string, text: string): void {
  if (text.length <= 63 && LABEL.test(text)) return;
  throw fault(`pod ${what} "${text.slice(0, 300)}" is not a valid DNS label`);
}

function fault(message: string): AgentError {
  return new AgentError({ code: 'POD_HOSTNAME', message });
}
