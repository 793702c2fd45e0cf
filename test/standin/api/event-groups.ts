import type { Kind } from '../kinds.ts';
import type { Dict, Obj } from '../objects.ts';

/** Events live in two groups with other field names; core/v1 is the form they are stored in. */
const PAIRS: readonly (readonly [string, string])[] = [
  ['note', 'message'],
  ['regarding', 'involvedObject'],
  ['reportingController', 'reportingComponent'],
  ['deprecatedSource', 'source'],
  ['deprecatedFirstTimestamp', 'firstTimestamp'],
  ['deprecatedLastTimestamp', 'lastTimestamp'],
  ['deprecatedCount', 'count'],
];

/** An object as its group shows it. */
export function fromStored(kind: Kind, object: Obj): Obj {
  if (kind.group !== 'events.k8s.io') return object;
  return { ...rename(object, 1, 0), apiVersion: 'events.k8s.io/v1', kind: 'Event' };
}

/** An object as it is stored. */
export function toStored(kind: Kind, object: Obj): Obj {
  if (kind.group !== 'events.k8s.io') return object;
  return { ...rename(object, 0, 1), apiVersion: 'v1', kind: 'Event' };
}

function rename(object: Obj, from: 0 | 1, to: 0 | 1): Obj {
  const out: Dict = { ...object };
  for (const pair of PAIRS) {
    const value = out[pair[from]];
    if (value === undefined) continue;
    delete out[pair[from]];
    out[pair[to]] = value;
  }
  return out as Obj;
}
