import type { CriImage } from '../../cri/types.ts';
import type { Node, NodeAddress, NodeCondition } from '../../kube/index.ts';
import { sameCondition } from './conditions.ts';

/** The kubelet lists at most this many images (nodeStatusMaxImages), each with at most 5 names. */
const MAX_IMAGES = 50;
const MAX_NAMES = 5;

export function nodeImages(images: readonly CriImage[], max = MAX_IMAGES): { names: string[]; sizeBytes: number }[] {
  return images
    .map((image) => ({
      names: [...image.repoDigests, ...image.repoTags].slice(0, MAX_NAMES),
      sizeBytes: image.size,
    }))
    .filter((image) => image.names.length > 0)
    .sort((a, b) => b.sizeBytes - a.sizeBytes || (a.names[0] as string).localeCompare(b.names[0] as string))
    .slice(0, max < 0 ? undefined : max);
}

/** The field of the status; left out where there is nothing to say and nothing was said. */
export function volumesInUse(
  names: readonly string[] | undefined,
  stored: Node | undefined,
): { volumesInUse?: readonly string[] } {
  if (names === undefined) return {};
  return names.length === 0 && !stored?.status?.volumesInUse?.length ? {} : { volumesInUse: names };
}

export interface DesiredStatus {
  /** Everything but conditions and addresses, by field of status. */
  fields: Readonly<Record<string, unknown>>;
  conditions: readonly NodeCondition[];
  /** Undefined while the cloud controller owns them. */
  addresses: readonly NodeAddress[] | undefined;
}

/**
 * The strategic merge patch that turns the stored status into the desired one, or undefined if nothing but heartbeats
 * differs and `heartbeat` is false. Addresses are replaced whole: their merge key is the type, of which dual stack has
 * two alike.
 */
export function statusPatch(
  stored: Node | undefined,
  desired: DesiredStatus,
  heartbeat: boolean,
): { status: Record<string, unknown> } | undefined {
  const status: Record<string, unknown> = {};
  const old = (stored?.status ?? {}) as Record<string, unknown>;
  for (const [key, value] of Object.entries(desired.fields)) if (!covers(old[key], value)) status[key] = value;
  const before = stored?.status?.conditions ?? [];
  const changed = desired.conditions.filter(
    (condition) =>
      !sameCondition(
        before.find((c) => c.type === condition.type),
        condition,
      ),
  );
  if (changed.length > 0 || heartbeat) status.conditions = desired.conditions;
  if (desired.addresses !== undefined && !covers(stored?.status?.addresses, desired.addresses))
    status.addresses = [...desired.addresses, { $patch: 'replace' }];
  return Object.keys(status).length > 0 ? { status } : undefined;
}

/**
 * True if `have` says all that `want` says. Fields that only the server knows (added by defaulting or by newer
 * versions) don't count as a difference, or each heartbeat would try in vain to remove them.
 */
function covers(have: unknown, want: unknown): boolean {
  if (Array.isArray(want))
    return Array.isArray(have) && have.length === want.length && want.every((item, i) => covers(have[i], item));
  if (typeof want === 'object' && want !== null) {
    if (typeof have !== 'object' || have === null) return Object.keys(want).length === 0;
    return Object.entries(want).every(([key, value]) => covers((have as Record<string, unknown>)[key], value));
  }
  return have === want || (have === undefined && (want === '' || want === false || want === 0 || want === undefined));
}
