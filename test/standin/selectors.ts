import type { Dict, Obj } from './objects.ts';
import { isDict } from './objects.ts';
import { badRequest } from './status.ts';

export type Predicate = (object: Obj) => boolean;

/** A label selector of the query string: `a=b,c!=d,e in (f,g),!h,i`. Throws 400. */
export function parseLabelSelector(text: string | undefined): Predicate {
  if (!text) return () => true;
  const tests = splitTopLevel(text).map(labelTest);
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

function labelTest(part: string): (labels: Record<string, string>) => boolean {
  const set = /^\s*([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)\s*$/.exec(part);
  if (set) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    const key = set[1] as string;
    if (set[2] === 'in') return (labels) => labels[key] !== undefined && values.includes(labels[key]);
    return (labels) => labels[key] === undefined || !values.includes(labels[key]);
  }
  const equality = /^\s*([\w./-]+)\s*(!=|==|=)\s*([\w.-]*)\s*$/.exec(part);
  if (equality) {
    const [, key = '', operator, value = ''] = equality;
    return operator === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value;
  }
  const exists = /^\s*(!?)\s*([\w./-]+)\s*$/.exec(part);
  if (exists) {
    const [, not, key = ''] = exists;
    return not ? (labels) => labels[key] === undefined : (labels) => labels[key] !== undefined;
  }
  throw badRequest(`unable to parse requirement: ${part}`);
}

function splitTopLevel(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    else if (text[i] === ')') depth--;
    else if (text[i] === ',' && depth === 0) {
      out.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return [...out, text.slice(from)].filter((part) => part.trim() !== '');
}

/** Fields a selector may name besides metadata.name and metadata.namespace, by kind. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  Pod: [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  Node: ['spec.unschedulable'],
  Namespace: ['status.phase'],
  Secret: ['type'],
  Service: ['spec.clusterIP', 'spec.type'],
  ReplicaSet: ['status.replicas'],
  ReplicationController: ['status.replicas'],
  Job: ['status.successful'],
  Event: [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
};

/** A field selector: `spec.nodeName=n1,status.phase!=Failed`. Throws 400 for a field the kind does not offer. */
export function parseFieldSelector(kind: string, text: string | undefined): Predicate {
  const terms = fieldTerms(text);
  const allowed = new Set(['metadata.name', 'metadata.namespace', ...(FIELDS[kind] ?? [])]);
  for (const { field } of terms) if (!allowed.has(field)) throw badRequest(`field label not supported: ${field}`);
  return (object) => terms.every(({ field, value, equal }) => (fieldValue(object, field) === value) === equal);
}

/** The terms of a field selector, unchecked. */
export function fieldTerms(text: string | undefined): { field: string; value: string; equal: boolean }[] {
  return (text ?? '')
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const m = /^([^!=]+?)\s*(!=|==|=)(.*)$/.exec(part.trim());
      if (!m) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
      return { field: m[1] as string, value: (m[3] as string).replace(/\\([,=\\])/g, '$1'), equal: m[2] !== '!=' };
    });
}

function fieldValue(object: Obj, field: string): string {
  if (object.kind === 'Event' && field === 'source')
    return String((object.source as Dict | undefined)?.component ?? object.reportingComponent ?? '');
  let at: unknown = object;
  for (const part of field.split('.')) at = isDict(at) ? at[part] : undefined;
  return at === undefined || at === null
    ? field === 'spec.unschedulable' || field === 'spec.hostNetwork'
      ? 'false'
      : ''
    : String(at);
}

/** A selector as in objects (matchLabels, matchExpressions). Undefined matches nothing, an empty one everything. */
export function matchesLabelSelector(
  selector:
    | {
        matchLabels?: Record<string, string>;
        matchExpressions?: { key: string; operator: string; values?: string[] }[];
      }
    | undefined,
  labels: Record<string, string> | undefined,
): boolean {
  if (!selector) return false;
  const have = labels ?? {};
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (have[key] !== value) return false;
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const value = have[key];
    if (operator === 'In' && !(value !== undefined && values.includes(value))) return false;
    if (operator === 'NotIn' && value !== undefined && values.includes(value)) return false;
    if (operator === 'Exists' && value === undefined) return false;
    if (operator === 'DoesNotExist' && value !== undefined) return false;
  }
  return true;
}

/** `a=b,c in (d,e)`, as kubectl prints selectors. */
export function formatLabelSelector(selector: Parameters<typeof matchesLabelSelector>[0]): string {
  if (!selector) return '<none>';
  const parts = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    if (operator === 'Exists') parts.push(key);
    else if (operator === 'DoesNotExist') parts.push(`!${key}`);
    else parts.push(`${key} ${operator.toLowerCase()} (${values.join(',')})`);
  }
  return parts.sort().join(',') || '<none>';
}
