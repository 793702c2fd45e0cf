import type { Taint, Toleration } from '../../kube/index.ts';

export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  switch (toleration.operator || 'Equal') {
    case 'Exists':
      return true;
    case 'Equal':
      return toleration.key !== undefined && toleration.key !== '' && (toleration.value ?? '') === (taint.value ?? '');
    default:
      return false;
  }
}

/** The first NoExecute taint of the node that the pod does not tolerate; the other effects are the scheduler's. */
export function untoleratedTaint(taints: readonly Taint[], tolerations: readonly Toleration[]): Taint | undefined {
  return taints.find((taint) => taint.effect === 'NoExecute' && !tolerations.some((t) => tolerates(t, taint)));
}
