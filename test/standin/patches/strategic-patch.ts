import { type Dict, isDict, sameJson } from '../objects.ts';
import { badRequest } from '../status.ts';

/**
 * Strategic merge patch: like a merge patch, but lists with a merge key are merged element by element, and `$patch`,
 * `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…` direct it. Keys are those of the Kubernetes
 * types (patchMergeKey tags), told by field name, since one field name nearly always has one key.
 */
export function applyStrategicPatch(kind: string, target: unknown, patch: unknown): unknown {
  if (!isDict(patch)) throw badRequest('a strategic merge patch is an object');
  return mergeObject({ kind, field: '' }, isDict(target) ? target : {}, patch);
}

/** Where a list lies: the object's kind and the field that holds the object the list is in. */
interface Place {
  kind: string;
  field: string;
}

const MERGE_KEYS: Readonly<Record<string, string>> = {
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  volumes: 'name',
  conditions: 'type',
  imagePullSecrets: 'name',
  hostAliases: 'ip',
  ownerReferences: 'uid',
  topologySpreadConstraints: 'topologyKey',
  podIPs: 'ip',
  hostIPs: 'ip',
  resourceClaims: 'name',
  resourceClaimStatuses: 'name',
  schedulingGates: 'name',
};
const PRIMITIVE_SETS = new Set(['finalizers', 'podCIDRs']);

function mergeKey(place: Place, field: string): string | undefined {
  if (field === 'addresses') return place.kind === 'Node' ? 'type' : undefined;
  if (field === 'secrets') return place.kind === 'ServiceAccount' ? 'name' : undefined;
  if (field === 'ports') {
    if (place.kind === 'Service') return 'port';
    return ['containers', 'initContainers', 'ephemeralContainers'].includes(place.field) ? 'containerPort' : undefined;
  }
  return MERGE_KEYS[field];
}

function mergeObject(place: Place, target: Dict, patch: Dict): Dict {
  if (patch.$patch === 'replace') return stripDirectives(patch);
  if (patch.$patch === 'delete') return {};
  const out: Dict = { ...target };
  if (Array.isArray(patch.$retainKeys)) {
    const kept = new Set(patch.$retainKeys);
    for (const key of Object.keys(out)) if (!kept.has(key)) delete out[key];
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$deleteFromPrimitiveList/')) {
      const field = key.slice('$deleteFromPrimitiveList/'.length);
      const gone = Array.isArray(value) ? value : [];
      if (Array.isArray(out[field])) out[field] = out[field].filter((item) => !gone.includes(item));
    }
    if (key.startsWith('$')) continue;
    if (value === null) delete out[key];
    else if (isDict(value)) out[key] = mergeObject({ ...place, field: key }, isDict(out[key]) ? out[key] : {}, value);
    else if (Array.isArray(value)) out[key] = mergeList(place, key, out[key], value);
    else out[key] = value;
  }
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith('$setElementOrder/') || !Array.isArray(order)) continue;
    const field = key.slice('$setElementOrder/'.length);
    const list = out[field];
    if (Array.isArray(list)) out[field] = reorder(list, order, mergeKey(place, field));
  }
  return out;
}

function mergeList(place: Place, field: string, current: unknown, patch: readonly unknown[]): unknown[] {
  const list = Array.isArray(current) ? current : [];
  if (PRIMITIVE_SETS.has(field)) return [...list, ...patch.filter((item) => !list.includes(item))];
  const key = mergeKey(place, field);
  if (key === undefined) return [...patch];
  const inner = { ...place, field };
  if (patch.some((item) => isDict(item) && item.$patch === 'replace'))
    return patch.filter((item) => !(isDict(item) && item.$patch === 'replace')).map((item) => plain(inner, item));
  const out = [...list];
  for (const item of patch) {
    if (!isDict(item)) continue;
    if (item[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    const at = out.findIndex((known) => isDict(known) && sameJson(known[key], item[key]));
    if (item.$patch === 'delete') {
      if (at >= 0) out.splice(at, 1);
    } else if (at >= 0) out[at] = mergeObject(inner, out[at] as Dict, item);
    else out.push(mergeObject(inner, {}, item));
  }
  return out;
}

function plain(place: Place, item: unknown): unknown {
  return isDict(item) ? mergeObject(place, {}, item) : item;
}

function stripDirectives(patch: Dict): Dict {
  return Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith('$')));
}

/** Elements named in `order` take that order; elements only the server has stay where they were. */
function reorder(list: readonly unknown[], order: readonly unknown[], key: string | undefined): unknown[] {
  const identity = (item: unknown) => JSON.stringify(key && isDict(item) ? item[key] : item);
  const rank = new Map(order.map((item, i) => [identity(item), i]));
  const ordered = list
    .filter((item) => rank.has(identity(item)))
    .sort((a, b) => (rank.get(identity(a)) ?? 0) - (rank.get(identity(b)) ?? 0));
  let next = 0;
  return list.map((item) => (rank.has(identity(item)) ? ordered[next++] : item));
}
