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

const MAX_LABEL = 63;
const MAX_SUBDOMAIN = 253;
const LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;

/**
 * Host name and domain of a pod (kubelet GeneratePodHostNameAndDomain, GetNodenameForKernel). Throws `POD_HOSTNAME`
 * with upstream's text.
 */
export function podHostname(pod: Pod, clusterDomain: string): PodHostname {
  const spec = specOf(pod);
  if (spec.hostnameOverride !== undefined) {
    assertSubdomain(spec.hostnameOverride);
    const name = truncate(spec.hostnameOverride);
    return { hostname: name, name, domain: '' };
  }
  let name = truncate(pod.metadata.name ?? '');
  if (spec.hostname) {
    assertLabel('Hostname', spec.hostname);
    name = spec.hostname;
  }
  let domain = '';
  if (spec.subdomain) {
    assertLabel('Subdomain', spec.subdomain);
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
  return name.length <= MAX_LABEL ? name : name.slice(0, MAX_LABEL).replace(/[-.]+$/, '');
}

const matches = (pattern: string, text: string) => new RegExp(`^${pattern}$`).test(text.slice(0, 1024));

/** The texts are those of apimachinery's IsDNS1123Label and IsDNS1123Subdomain. */
function assertLabel(what: string, text: string): void {
  const wrong: string[] = [];
  if (text.length > MAX_LABEL) wrong.push(`must be no more than ${MAX_LABEL} characters`);
  if (!matches(LABEL, text))
    wrong.push(
      matches(SUBDOMAIN, text)
        ? 'must not contain dots'
        : `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '${LABEL}')`,
    );
  if (wrong.length > 0) throw fault(`pod ${what} "${text.slice(0, 300)}" is not a valid DNS label: ${wrong.join(';')}`);
}

function assertSubdomain(text: string): void {
  const wrong: string[] = [];
  if (text.length > MAX_SUBDOMAIN) wrong.push(`must be no more than ${MAX_SUBDOMAIN} characters`);
  if (!matches(SUBDOMAIN, text))
    wrong.push(
      `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '${SUBDOMAIN}')`,
    );
  if (wrong.length > 0)
    throw fault(`pod HostnameOverride "${text.slice(0, 300)}" is not a valid DNS subdomain: ${wrong.join(';')}`);
}

function fault(message: string): AgentError {
  return new AgentError({ code: 'POD_HOSTNAME', message });
}
