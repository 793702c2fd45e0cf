import { K, KINDS, type Kind, kindByName } from '../kinds.ts';
import type { Obj } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import type { Controller } from './controller.ts';

const COLLECTED = KINDS.filter((kind) => !kind.virtual && kind.storage === `${kind.group}/${kind.plural}`);

/** Deletes what has lost all its owners; ends foreground and orphaning deletions. */
export const garbageCollector: Controller = {
  name: 'garbage-collector',
  watches: COLLECTED.filter((kind) => kind.kind !== 'Event'),
  reconcile({ registry }) {
    const uids = new Set<string | undefined>();
    for (const kind of COLLECTED) for (const object of registry.store.list(kind)) uids.add(object.metadata.uid);
    for (const kind of COLLECTED)
      for (const object of registry.store.list(kind)) {
        finishOwner(registry, kind, object);
        const references = object.metadata.ownerReferences ?? [];
        if (references.length === 0 || object.metadata.deletionTimestamp) continue;
        // An owner of a kind this server does not know can't be looked for: it is taken to be there.
        if (references.some((r) => !kindByName(r.apiVersion, r.kind) || uids.has(r.uid))) continue;
        removeIfThere(registry, kind, object);
      }
  },
};

function finishOwner(registry: Registry, kind: Kind, owner: Obj): void {
  const { deletionTimestamp, finalizers = [], namespace, name = '', uid } = owner.metadata;
  if (!deletionTimestamp) return;
  const foreground = finalizers.includes('foregroundDeletion');
  const orphan = finalizers.includes('orphan');
  if (!foreground && !orphan) return;
  let left = 0;
  for (const other of COLLECTED)
    for (const dependent of registry.store.list(other, namespace)) {
      const references = dependent.metadata.ownerReferences ?? [];
      if (!references.some((reference) => reference.uid === uid)) continue;
      if (orphan) disown(registry, other, dependent, uid);
      else {
        left++;
        if (!dependent.metadata.deletionTimestamp) removeIfThere(registry, other, dependent);
      }
    }
  if (foreground && left > 0) return;
  registry.update({
    kind,
    name,
    ...(namespace ? { namespace } : {}),
    change: (current) => ({
      ...current,
      metadata: {
        ...current.metadata,
        finalizers: finalizers.filter((f) => f !== 'foregroundDeletion' && f !== 'orphan'),
      },
    }),
  });
}

function disown(registry: Registry, kind: Kind, object: Obj, uid: string | undefined): void {
  const { namespace, name = '' } = object.metadata;
  registry.update({
    kind,
    name,
    ...(namespace ? { namespace } : {}),
    change: (current) => ({
      ...current,
      metadata: {
        ...current.metadata,
        ownerReferences: (current.metadata.ownerReferences ?? []).filter((r) => r.uid !== uid),
      },
    }),
  });
}

function removeIfThere(registry: Registry, kind: Kind, object: Obj): void {
  const { namespace, name = '', uid } = object.metadata;
  if (registry.store.get(kind, namespace, name)?.metadata.uid !== uid) return;
  registry.remove(kind, namespace, name, { propagationPolicy: 'Background' });
}

/** A node's password secret belongs to its Node, so that a deleted node may come back with another password. */
export const nodePasswordOwners: Controller = {
  name: 'node-password-owners',
  watches: [K.nodes, K.secrets],
  reconcile({ registry }) {
    for (const node of registry.store.list(K.nodes)) {
      const { name = '', uid = '' } = node.metadata;
      const secret = `${name}.node-password.k3s`;
      const found = registry.store.get(K.secrets, 'kube-system', secret);
      if (!found || found.metadata.ownerReferences?.some((reference) => reference.uid === uid)) continue;
      registry.update({
        kind: K.secrets,
        namespace: 'kube-system',
        name: secret,
        change: (current) => ({
          ...current,
          metadata: { ...current.metadata, ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid }] },
        }),
      });
    }
  },
};
