import type { Pod } from '../../kube/index.ts';
import { configError } from './errors.ts';
import { amountOf, limitsOf, requestsOf } from './resources.ts';
import { type AnyContainer, specOf } from './spec.ts';

/** A string as Go's %q prints it: the value form of labels and annotations in downward API files. */
export function goQuote(text: string): string {
  let out = '"';
  for (const c of text) {
    const code = c.codePointAt(0) as number;
    const short = { '\x07': '\\a', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\v': '\\v' }[c];
    if (short) out += short;
    else if (c === '"' || c === '\\') out += `\\${c}`;
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(c)) out += c;
    else if (code > 0xffff) out += `\\U${code.toString(16).padStart(8, '0')}`;
    else out += `\\u${code.toString(16).padStart(4, '0')}`;
  }
  return `${out}"`;
}

function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([key, value]) => `${key}=${goQuote(value)}`)
    .join('\n');
}

/** The metadata fields both environment and downward API volumes know; undefined for other paths. */
export function metadataField(pod: Pod, path: string): string | undefined {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/s.exec(path);
  if (subscript) {
    const map = subscript[1] === 'labels' ? pod.metadata.labels : pod.metadata.annotations;
    const key = subscript[2] as string;
    return map && Object.hasOwn(map, key) ? (map[key] as string) : '';
  }
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name ?? '';
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    default:
      return undefined;
  }
}

export interface FieldContext {
  hostIps: readonly string[];
  podIps: readonly string[];
}

/** The value of an environment variable's fieldRef. */
export function podField(pod: Pod, path: string, context: FieldContext): string {
  switch (path) {
    case 'spec.nodeName':
      return pod.spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return context.hostIps[0] ?? '';
    case 'status.hostIPs':
      return context.hostIps.join(',');
    case 'status.podIP':
      return context.podIps[0] ?? '';
    case 'status.podIPs':
      return context.podIps.join(',');
    default: {
      const value = metadataField(pod, path);
      if (value === undefined) throw configError(`unsupported fieldPath: ${path.slice(0, 256)}`);
      return value;
    }
  }
}

export interface ResourceFieldRef {
  containerName?: string;
  resource: string;
  divisor?: string | number;
}

/**
 * What stands in for limits that a container's environment shows but does not have: the pod's own limits, else what the
 * node has (kubelet_resources.go defaultPodLimitsForDownwardAPI).
 */
export function defaultLimits(pod: Pod, allocatable: Readonly<Record<string, string>>): Record<string, string> {
  const out = { ...allocatable };
  const limits = specOf(pod).resources?.limits ?? {};
  for (const name of ['cpu', 'memory']) {
    const limit = limits[name];
    if (limit !== undefined && out[name] !== undefined && amountOf(name, limit) > 0) out[name] = String(limit);
  }
  return out;
}

/**
 * The value of a resourceFieldRef: the container's limit or request in units of the divisor, rounded up. A limit that
 * is not set is the node's allocatable amount.
 */
export function resourceField(
  pod: Pod,
  own: AnyContainer | undefined,
  ref: ResourceFieldRef,
  allocatable: Readonly<Record<string, string>>,
): string {
  const all: AnyContainer[] = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const container = ref.containerName ? all.find((c) => c.name === ref.containerName) : own;
  if (!container) throw configError(`container ${ref.containerName ?? ''} not found`);
  const m = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/.exec(ref.resource);
  if (!m) throw configError(`unsupported container resource : ${ref.resource.slice(0, 256)}`);
  const [, kind, name] = m as unknown as [string, 'limits' | 'requests', string];
  let amount = (kind === 'limits' ? limitsOf(container) : requestsOf(container)).get(name) ?? 0;
  const whole = allocatable[name];
  if (kind === 'limits' && amount === 0 && whole !== undefined && !name.startsWith('hugepages-'))
    amount = amountOf(name, whole);
  const divisor = ref.divisor === undefined || ref.divisor === '' ? 0 : amountOf(name, ref.divisor);
  const unit = divisor > 0 ? divisor : amountOf(name, '1');
  return String(Math.ceil(amount / unit));
}
