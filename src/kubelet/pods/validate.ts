import type { Pod } from '../../kube/index.ts';

const MAX_CONTAINERS = 500;

/**
 * Why an object can't be worked with as a Pod; undefined if it can. Only the shape that this room relies on: values
 * inside containers and volumes are judged where they are used.
 */
export function podFault(raw: unknown): string | undefined {
  if (!isObject(raw)) return 'it is not an object';
  const { metadata, spec } = raw;
  if (!isObject(metadata)) return 'it has no metadata';
  for (const field of ['uid', 'name', 'namespace'])
    if (typeof metadata[field] !== 'string' || metadata[field] === '') return `it has no ${field}`;
  if (!/^[\w.:-]{1,253}$/.test(metadata.uid as string)) return 'its uid is malformed';
  if (/[/\0]|^\.\.?$/.test(`${metadata.name}`) || /[/\0]|^\.\.?$/.test(`${metadata.namespace}`))
    return 'its name is malformed';
  if (!isObject(spec)) return 'it has no spec';
  if (!Array.isArray(spec.containers) || spec.containers.length === 0) return 'it has no containers';
  const names = new Set<string>();
  for (const list of ['containers', 'initContainers', 'ephemeralContainers']) {
    const containers = spec[list] ?? [];
    if (!Array.isArray(containers) || containers.length > MAX_CONTAINERS) return `its ${list} are malformed`;
    for (const container of containers) {
      const fault = containerFault(container, names);
      if (fault) return `its ${list} are malformed: ${fault}`;
    }
  }
  for (const list of ['imagePullSecrets', 'readinessGates', 'volumes'])
    if (spec[list] !== undefined && spec[list] !== null && !Array.isArray(spec[list]))
      return `its ${list} are malformed`;
  return undefined;
}

function containerFault(container: unknown, names: Set<string>): string | undefined {
  if (!isObject(container)) return 'not an object';
  const { name, image, volumeMounts, resources } = container;
  // A name becomes a folder of logs.
  if (typeof name !== 'string' || !/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name) || name.length > 63) return 'bad name';
  if (names.has(name)) return 'a name is used twice';
  names.add(name);
  if (image !== undefined && typeof image !== 'string') return 'bad image';
  if (volumeMounts !== undefined && volumeMounts !== null && !Array.isArray(volumeMounts)) return 'bad volumeMounts';
  if (Array.isArray(volumeMounts) && volumeMounts.some((m) => !isObject(m))) return 'bad volumeMounts';
  if (resources !== undefined && resources !== null && !isObject(resources)) return 'bad resources';
  return undefined;
}

/** A JSON object: no array, no null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const STATUS_LISTS = ['conditions', 'podIPs', 'hostIPs'] as const;
const CONTAINER_LISTS = ['containerStatuses', 'initContainerStatuses', 'ephemeralContainerStatuses'] as const;

/** The pod without its status if that is malformed: it is written anew. */
export function withSoundStatus(pod: Pod): Pod {
  if (pod.status === undefined || isSound(pod.status)) return pod;
  const { status: _, ...rest } = pod;
  return rest;
}

function isSound(status: unknown): boolean {
  if (!isObject(status)) return false;
  const list = (value: unknown, sound: (entry: unknown) => boolean): boolean =>
    value === undefined || value === null || (Array.isArray(value) && value.every(sound));
  const optional = (value: unknown): boolean => value === undefined || value === null || isObject(value);
  return (
    STATUS_LISTS.every((field) => list(status[field], isObject)) &&
    CONTAINER_LISTS.every((field) =>
      list(status[field], (entry) => isObject(entry) && optional(entry.state) && optional(entry.lastState)),
    ) &&
    ['phase', 'startTime', 'podIP', 'qosClass'].every((field) => ['string', 'undefined'].includes(typeof status[field]))
  );
}
