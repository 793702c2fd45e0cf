import type { Node } from '../../kube/index.ts';
import { type NodeIdentity, ownAnnotations, ownLabels } from './describe.ts';

/** The merge patch that gives a Node our labels and annotations, or undefined if it has them. Others' stay. */
export function metadataPatch(stored: Node, node: NodeIdentity): { metadata: Record<string, unknown> } | undefined {
  const labels = differing(stored.metadata.labels, ownLabels(node));
  const annotations = differing(stored.metadata.annotations, ownAnnotations(node));
  if (labels === undefined && annotations === undefined) return undefined;
  return { metadata: { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) } };
}

function differing(
  have: Readonly<Record<string, string>> | undefined,
  want: Readonly<Record<string, string | null>>,
): Record<string, string | null> | undefined {
  const entries = Object.entries(want).filter(([key, value]) => (have?.[key] ?? null) !== value);
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}
