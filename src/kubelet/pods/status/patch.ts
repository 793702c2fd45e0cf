import type { PodCondition, PodStatus } from '../../../kube/index.ts';
import { isObject } from '../validate.ts';
import { sameJson } from './equal.ts';

/** What a kubelet writes of a pod's status; the rest (nominatedNodeName, resize, …) is others'. */
const FIELDS = [
  'observedGeneration',
  'phase',
  'reason',
  'message',
  'hostIP',
  'podIP',
  'qosClass',
  'startTime',
  'initContainerStatuses',
  'containerStatuses',
  'ephemeralContainerStatuses',
] as const;
/** Lists the server merges by their `ip`: what is to go has to be named. */
const BY_IP = ['hostIPs', 'podIPs'] as const;
/** Conditions of ours that go away again. */
const PASSING = ['PodResizePending', 'PodResizeInProgress'] as const;
const OBJECTS = ['resources', 'allocatedResources'] as const;

export type StatusPatch = Record<string, unknown>;

/**
 * The `status` part of the strategic merge patch that turns `server` into `wanted`; undefined if there is nothing to
 * change. Conditions merge by type, so those of others stay.
 */
export function statusPatch(server: PodStatus | undefined, wanted: PodStatus): StatusPatch | undefined {
  const have = (server ?? {}) as Record<string, unknown>;
  const want = wanted as Record<string, unknown>;
  const patch: StatusPatch = {};
  for (const field of FIELDS) if (!sameJson(have[field], want[field])) patch[field] = want[field] ?? null;
  for (const field of BY_IP) {
    const list = ipPatch(have[field], want[field]);
    if (list.length > 0) patch[field] = list;
  }
  for (const field of OBJECTS) {
    // `{}` and absent differ here: an empty one says that the node knows of no resources.
    if (want[field] === undefined ? have[field] === undefined : field in have && sameJson(have[field], want[field]))
      continue;
    patch[field] = want[field] === undefined ? null : withRemovals(have[field], want[field]);
  }
  const conditions = (wanted.conditions ?? [])
    .filter((c) => !sameJson(c, conditionOf(server, c.type)))
    .map((c) => withRemovals(conditionOf(server, c.type), c));
  // Those that are there only while something goes on.
  const over = PASSING.filter((type) => conditionOf(server, type) && !conditionOf(wanted, type));
  const all = [...conditions, ...over.map((type) => ({ $patch: 'delete', type }))];
  if (all.length > 0) patch.conditions = all;
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function conditionOf(status: PodStatus | undefined, type: string): PodCondition | undefined {
  return Array.isArray(status?.conditions) ? status.conditions.find((c) => c?.type === type) : undefined;
}

function ipPatch(have: unknown, want: unknown): object[] {
  const ips = (list: unknown): string[] =>
    Array.isArray(list) ? list.map((e: { ip?: unknown } | null) => e?.ip).filter((ip) => typeof ip === 'string') : [];
  const [old, next] = [ips(have), ips(want)];
  if (sameJson(old, next)) return [];
  return [
    ...next.map((ip) => ({ ip })),
    ...old.filter((ip) => !next.includes(ip)).map((ip) => ({ $patch: 'delete', ip })),
  ];
}

/** A merge leaves keys that are not named: name those that are to go. */
function withRemovals(have: unknown, want: unknown): unknown {
  if (!isObject(have) || !isObject(want)) return want;
  const out: Record<string, unknown> = {};
  for (const key of Object.keys(have)) if (!(key in want)) out[key] = null;
  for (const [key, value] of Object.entries(want)) out[key] = withRemovals(have[key], value);
  return out;
}
