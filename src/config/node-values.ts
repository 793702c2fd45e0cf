import { nodeNameProblem } from '../core/index.ts';
import { invalid, type Setting } from './setting.ts';

const NAME = /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

/** Labels under kubernetes.io that a kubelet may set on its own Node (kubelet options.go, kubeletapis labels). */
const OWN_LABELS = new Set([
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'beta.kubernetes.io/os',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'kubernetes.io/arch',
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);

export interface Taint {
  readonly key: string;
  readonly value: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

/** `name=value` or `name` as key and value; the value is what stands after the first `=`. */
export function parseLabel(text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** `name=value:Effect` or `name:Effect`; undefined if it has another shape. */
export function parseTaint(text: string): Taint | undefined {
  const m = /^([^=:]+)(?:=([^:]*))?:([A-Za-z]+)$/.exec(text);
  if (!m || !EFFECTS.includes(m[3]!)) return undefined;
  return { key: m[1]!, value: m[2] ?? '', effect: m[3] as Taint['effect'] };
}

function isQualifiedName(key: string): boolean {
  const at = key.indexOf('/');
  return at < 0 ? NAME.test(key) : PREFIX.test(key.slice(0, at)) && NAME.test(key.slice(at + 1));
}

export function checkLabel(setting: Setting, text: string): void {
  const [key, value] = parseLabel(text);
  if (!isQualifiedName(key)) throw invalid(setting, `"${key.slice(0, 80)}" is not a label name`, 'write name=value');
  if (value !== '' && !NAME.test(value))
    throw invalid(setting, 'a label value has up to 63 letters, digits, "-", "_" or "." and no others');
  const prefix = key.includes('/') ? key.slice(0, key.indexOf('/')) : '';
  const reserved = /(^|\.)(kubernetes|k8s)\.io$/.test(prefix);
  const allowed = /(^|\.)(kubelet|node)\.kubernetes\.io$/.test(prefix) || OWN_LABELS.has(key);
  if (reserved && !allowed)
    throw invalid(
      setting,
      `a node may not give itself the label ${key}`,
      `use a name under node.kubernetes.io/ or of your own, or set it with: kubectl label node NAME ${key}=${value}`,
    );
}

export function checkTaint(setting: Setting, text: string): void {
  const taint = parseTaint(text);
  if (taint === undefined || !isQualifiedName(taint.key) || (taint.value !== '' && !NAME.test(taint.value)))
    throw invalid(setting, `must be name=value:Effect, with an effect out of ${EFFECTS.join(', ')}`);
}

export function checkNodeName(setting: Setting, text: string): void {
  const wrong = nodeNameProblem(text.toLowerCase());
  if (wrong) throw invalid(setting, wrong.problem, wrong.suggestion ? `for example: ${wrong.suggestion}` : undefined);
}
