import type { Pod } from '../../kube/index.ts';

export interface Requirement {
  key: string;
  operator: string;
  values?: string[];
}

/** One requirement of a node selector term; an unknown operator matches nothing. */
export function matches(requirement: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const { key, operator, values = [] } = requirement;
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      const bound = values[0];
      if (values.length !== 1 || !isInteger(value) || !isInteger(bound)) return false;
      return operator === 'Gt' ? BigInt(value) > BigInt(bound) : BigInt(value) < BigInt(bound);
    }
    default:
      return false;
  }
}

function isInteger(text: string | undefined): text is string {
  return text !== undefined && /^[+-]?\d{1,19}$/.test(text);
}

/** The pod's nodeSelector and required node affinity (component-helpers scheduling/corev1/nodeaffinity). */
export function selectsNode(pod: Pod, node: { name: string; labels: Readonly<Record<string, string>> }): boolean {
  for (const [key, value] of Object.entries(pod.spec.nodeSelector ?? {})) if (node.labels[key] !== value) return false;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return (required.nodeSelectorTerms ?? []).some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length === 0 && matchFields.length === 0) return false;
    return (
      matchExpressions.every((r) => matches(r, node.labels)) &&
      matchFields.every((r) => matches(r, { 'metadata.name': node.name }))
    );
  });
}
