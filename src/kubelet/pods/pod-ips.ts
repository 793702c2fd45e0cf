import { familyOf, normalizeAddress } from '../../core/index.ts';

/**
 * A pod's addresses as the API shows them: one of the node's own family first, at most one of the other after it
 * (kubelet sortPodIPs). `ips`: as the runtime tells them.
 */
export function sortPodIps(ips: readonly string[], hostIps: readonly string[]): readonly string[] {
  const first = hostIps[0] !== undefined && familyOf(hostIps[0]) === 6 ? 6 : 4;
  const of = (family: 4 | 6) => ips.find((ip) => familyOf(ip) === family);
  return [of(first), of(first === 6 ? 4 : 6)].filter((ip) => ip !== undefined).map(normalizeAddress);
}
