import type { PersistentVolume } from '../../../kube/index.ts';
import { matches } from '../../admission/selector.ts';

/** Whether a volume may be used on a node with these labels (component-helpers storage/volume). */
export function suitsNode(
  volume: PersistentVolume | undefined,
  node: { name: string; labels: Readonly<Record<string, string>> },
): boolean {
  const required = volume?.spec?.nodeAffinity?.required;
  if (!required) return true;
  return (required.nodeSelectorTerms ?? []).some(({ matchExpressions = [], matchFields = [] }) => {
    if (matchExpressions.length === 0 && matchFields.length === 0) return false;
    return (
      matchExpressions.every((r) => matches(r, node.labels)) &&
      matchFields.every((r) => matches(r, { 'metadata.name': node.name }))
    );
  });
}
