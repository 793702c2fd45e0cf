import { join } from 'node:path';
import { describeError } from '../../core/index.ts';
import type { IdMapping } from '../../cri/types.ts';
import { readText, writeFileAtomic } from '../../host/index.ts';

/** Ranges are whole multiples of it, so that every id of 16 bits has its place in a pod. */
const UNIT = 65_536;

export interface UserNamespaceOptions {
  podDir(podUid: string): string;
  /** Uids of all pods with a folder, to find ranges that were given out before a restart. */
  podsOnDisk(): Promise<readonly string[]>;
  /** Host ids to give out: all but the first 65536, unless a user called kubelet has subordinate ids. */
  range?: () => Promise<{ first: number; length: number } | undefined>;
  /** KubeletConfiguration userNamespaces.idsPerPod; 65536 when left out. */
  idsPerPod?: number;
}

export interface UserNamespaces {
  /** The range of a pod with `hostUsers: false`; the same one each time, also after a restart. */
  forPod(podUid: string): Promise<IdMapping>;
  /** Once nothing of the pod runs and its folder is gone. */
  release(podUid: string): void;
}

/**
 * Which host ids the users of pods with their own user namespace are (kubelet pkg/kubelet/userns/userns_manager.go). A
 * pod's range lies in the file `userns` of its folder, in upstream's form, so that either agent takes over the other's
 * pods. Nothing is read before the first such pod comes.
 */
export function createUserNamespaces(options: UserNamespaceOptions): UserNamespaces {
  const length = options.idsPerPod ?? UNIT;
  const usedBy = new Map<string, number>();
  let ranges: Promise<{ first: number; count: number }> | undefined;
  let last = -1;
  let tail: Promise<unknown> = Promise.resolve();

  async function load() {
    const { first, length: total } = (await options.range?.()) ?? { first: length, length: 2 ** 32 - length };
    const bounds = boundsOf(first, total, length);
    // A file that can't be read is its own pod's trouble.
    for (const uid of await options.podsOnDisk()) await recall(uid, bounds).catch(() => {});
    return bounds;
  }

  async function recall(uid: string, bounds: { first: number; count: number }): Promise<IdMapping | undefined> {
    const text = await readText(join(options.podDir(uid), 'userns'));
    if (!text) return undefined;
    const mapping = parse(text);
    const index = (mapping.hostId - bounds.first) / length;
    if (mapping.length !== length) throw new Error(`wrong user namespace length ${mapping.length}`);
    if (!Number.isInteger(index)) throw new Error(`wrong user namespace offset specified ${mapping.hostId}`);
    if (index < 0 || index >= bounds.count) throw new Error(`id ${mapping.hostId} is out of range`);
    const before = usedBy.get(uid);
    if (before !== undefined && before !== index)
      throw new Error(`different user namespace range already used by pod "${uid}"`);
    if (before === undefined && [...usedBy.values()].includes(index))
      throw new Error(`range picked for pod "${uid}" already taken`);
    usedBy.set(uid, index);
    return mapping;
  }

  async function create(uid: string, { first, count }: { first: number; count: number }): Promise<IdMapping> {
    const taken = new Set(usedBy.values());
    if (taken.size >= count) throw new Error('could not find an empty slot to allocate a user namespace');
    // On from the last one: what a pod left behind by mistake does not belong to the next one at once.
    let index = (last + 1) % count;
    while (taken.has(index)) index = (index + 1) % count;
    const mapping = { hostId: first + index * length, containerId: 0, length };
    const text = JSON.stringify({ uidMappings: [mapping], gidMappings: [mapping] });
    await writeFileAtomic(join(options.podDir(uid), 'userns'), text, 0o600);
    last = index;
    usedBy.set(uid, index);
    return mapping;
  }

  async function forPod(uid: string): Promise<IdMapping> {
    ranges ??= load();
    const bounds = await ranges.catch((error: unknown) => {
      ranges = undefined;
      throw error;
    });
    const known = await recall(uid, bounds).catch((error: unknown) => {
      throw new Error(`user namespace: ${describeError(error)}`);
    });
    if (known) return known;
    return create(uid, bounds).catch((error: unknown) => {
      throw new Error(`create user namespace: ${describeError(error)}`);
    });
  }

  return {
    forPod(uid) {
      const result = tail.then(() => forPod(uid));
      tail = result.catch(() => {});
      return result;
    },
    release: (uid) => void usedBy.delete(uid),
  };
}

/** Throws with upstream's text if ranges of that length can't be cut out of the host ids. */
function boundsOf(first: number, total: number, length: number): { first: number; count: number } {
  if (length <= 0 || length % UNIT !== 0)
    throw new Error(`kubelet user namespace length ${length} is not a multiple of ${UNIT}`);
  if (first % length !== 0) throw new Error(`kubelet user assigned ID ${first} is not a multiple of ${length}`);
  if (first < length) throw new Error(`kubelet user assigned ID ${first} must be greater or equal to ${length}`);
  if (total % length !== 0) throw new Error(`kubelet user assigned IDs length ${total} is not a multiple of ${length}`);
  return { first, count: total / length };
}

function parse(text: string): IdMapping {
  let file: { uidMappings?: unknown; gidMappings?: unknown };
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new Error(`invalid user namespace mappings file: ${describeError(error)}`);
  }
  const uids = mappingsOf(file?.uidMappings);
  const gids = mappingsOf(file?.gidMappings);
  const [uid] = uids;
  if (uid === undefined || uids.length !== 1)
    throw new Error('invalid user namespace configuration: no more than one mapping allowed.');
  if (gids.length !== 1 || JSON.stringify(gids[0]) !== JSON.stringify(uid))
    throw new Error('invalid user namespace configuration: GID and UID mapping should be identical');
  if (uid.containerId !== 0) throw new Error('invalid user namespace configuration: UID 0 must be mapped');
  return uid;
}

function mappingsOf(list: unknown): IdMapping[] {
  if (!Array.isArray(list)) return [];
  return list.map((entry) => {
    const { hostId, containerId, length } = (entry ?? {}) as Partial<IdMapping>;
    if (![hostId, containerId, length].every((n) => Number.isInteger(n)))
      throw new Error('invalid user namespace mappings file: a mapping is not made of whole numbers');
    return { hostId, containerId, length } as IdMapping;
  });
}
