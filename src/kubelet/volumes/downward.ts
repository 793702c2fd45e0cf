import type { Pod } from '../../kube/index.ts';
import { metadataField, type ResourceFieldRef, resourceField } from '../containers/fields.ts';
import { volumeError } from './errors.ts';
import { DEFAULT_MODE, type Payload, safePath } from './payload.ts';

export interface DownwardItem {
  path: string;
  mode?: number;
  fieldRef?: { fieldPath: string };
  resourceFieldRef?: ResourceFieldRef;
}

export function fieldsOfDownward(items: readonly DownwardItem[] | undefined): string[] {
  return (items ?? []).map((item) => item.fieldRef?.fieldPath ?? item.resourceFieldRef?.resource ?? '');
}

/** The files of a downward API volume or source. Throws AgentError with upstream's text. */
export function downwardPayload(
  pod: Pod,
  items: readonly DownwardItem[] | undefined,
  options: { defaultMode?: number | undefined; allocatable: Readonly<Record<string, string>> },
): Payload {
  const out: Payload = new Map();
  for (const item of items ?? []) {
    const path = safePath(item.path);
    out.set(path, {
      data: Buffer.from(itemValue(pod, item, options.allocatable)),
      mode: item.mode ?? options.defaultMode ?? DEFAULT_MODE,
    });
  }
  return out;
}

function itemValue(pod: Pod, item: DownwardItem, allocatable: Readonly<Record<string, string>>): string {
  if (item.resourceFieldRef) return resourceField(pod, undefined, item.resourceFieldRef, allocatable);
  const fieldPath = item.fieldRef?.fieldPath ?? '';
  const value = metadataField(pod, fieldPath);
  if (value === undefined) throw volumeError('VOLUME_SETUP', `unsupported fieldPath: ${fieldPath.slice(0, 256)}`);
  return value;
}
