import { type Family, familyOf } from '../core/index.ts';
import { backendData, KEYS, PREFIX } from './lease.ts';
import type { Backend } from './net-conf.ts';

export interface AnnotationQuestion {
  backend: Backend;
  /** The own Node's annotations as they are. */
  current: Readonly<Record<string, string>>;
  /** Families with a subnet, and the uplink's address of each. */
  addresses: Partial<Record<Family, string>>;
  macs: Partial<Record<Family, string>>;
  externalIp: boolean;
  nodeExternalIps: readonly string[];
}

/**
 * The annotations to write, null for those to remove; undefined if nothing differs. Source: flannel
 * pkg/subnet/kube/kube.go AcquireLease, k3s pkg/agent/flannel/setup.go (overwrite from external addresses).
 */
export function annotationPatch(question: AnnotationQuestion): Record<string, string | null> | undefined {
  const { backend, current, addresses, macs, externalIp, nodeExternalIps } = question;
  const wanted: Record<string, string | null> = {
    [`${PREFIX}backend-type`]: backend.type,
    [`${PREFIX}kube-subnet-manager`]: 'true',
  };
  for (const family of [4, 6] as const) {
    const keys = KEYS[family];
    const external = externalIp ? nodeExternalIps.find((ip) => familyOf(ip) === family) : undefined;
    wanted[keys.overwrite] = external ?? null;
    const address = addresses[family];
    if (address === undefined) continue;
    wanted[keys.publicIp] = external ?? address;
    const data = backend.type === 'vxlan' ? { VNI: backend.vni, VtepMAC: macs[family] } : null;
    wanted[keys.data] = JSON.stringify(data);
  }
  const patch = Object.entries(wanted).filter(([key, value]) => (current[key] ?? null) !== value);
  return patch.length === 0 ? undefined : Object.fromEntries(patch);
}

/**
 * In dual stack the original's peers act on a change only if the values of BOTH families changed (flannel
 * pkg/subnet/kube/kube.go handleUpdateLeaseEvent). This names the family whose values a patch leaves alone, so that the
 * caller can give it a new hardware address along with the change; undefined if peers notice anyway.
 */
export function unnoticedFamily(
  patch: Readonly<Record<string, string | null>>,
  { current, addresses }: Pick<AnnotationQuestion, 'current' | 'addresses'>,
): Family | undefined {
  const announced =
    current[`${PREFIX}kube-subnet-manager`] === 'true' && current[`${PREFIX}backend-type`] !== undefined;
  if (!announced || addresses[4] === undefined || addresses[6] === undefined) return undefined;
  const touched = (family: Family) => KEYS[family].data in patch || KEYS[family].publicIp in patch;
  if (touched(4) === touched(6)) return undefined;
  return touched(4) ? 6 : 4;
}

/**
 * The hardware address of the own tunnel end: the one peers know from the annotations, else the existing device's,
 * else a random locally administered one.
 */
export function vtepMac(options: {
  annotations: Readonly<Record<string, string>>;
  family: Family;
  existing: string | undefined;
  randomBytes: (n: number) => Uint8Array;
}): string {
  const stored = backendData(options.annotations[KEYS[options.family].data]).mac ?? options.existing;
  return stored ?? randomMac(options.randomBytes);
}

export function randomMac(randomBytes: (n: number) => Uint8Array): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] as number) & 0xfe) | 0x02;
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}
