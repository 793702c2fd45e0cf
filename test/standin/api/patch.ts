import type { Kind } from '../kinds.ts';
import { isDict, type Obj } from '../objects.ts';
import { applyJsonPatch } from '../patches/json-patch.ts';
import { applyMergePatch } from '../patches/merge-patch.ts';
import { applyStrategicPatch } from '../patches/strategic-patch.ts';
import { badRequest, unsupportedMediaType } from '../status.ts';
import { fromStored, toStored } from './event-groups.ts';

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

export function patchTypeOf(contentType: string | undefined): PatchType {
  switch ((contentType ?? '').split(';')[0]?.trim()) {
    case 'application/json-patch+json':
      return 'json';
    case 'application/merge-patch+json':
      return 'merge';
    case 'application/strategic-merge-patch+json':
      return 'strategic';
    case 'application/apply-patch+yaml':
      return 'apply';
    default:
      throw unsupportedMediaType(
        'application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml',
      );
  }
}

/** The object after the patch. An apply patch merges like a strategic one: who owns which field is not tracked. */
export function applyPatch(kind: Kind, type: PatchType, current: Obj, patch: unknown): Obj {
  const shown = fromStored(kind, current);
  const result =
    type === 'json'
      ? applyJsonPatch(shown, patch)
      : type === 'merge'
        ? applyMergePatch(shown, patch)
        : applyStrategicPatch(kind.kind, shown, patch);
  if (!isDict(result) || !isDict(result.metadata)) throw badRequest('the patched object has no metadata');
  return toStored(kind, result as Obj);
}
