import { K } from '../kinds.ts';
import type { Dict } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import { StatusError } from '../status.ts';
import { createHash, verifyHash } from './scrypt.ts';

/** The password each node name is bound to: a Secret in kube-system, made at the first request for the name. */
export interface NodePasswords {
  /** Throws 403 if the node is known by another password. */
  ensure(node: string, password: string): Promise<void>;
  secretName(node: string): string;
}

export function createNodePasswords(deps: { registry: Registry; old: boolean }): NodePasswords {
  const { registry, old } = deps;
  const secretName = (node: string) => `${node}.node-password.k3s`.toLowerCase();
  const mismatch = (node: string) =>
    new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `unable to verify password for node ${node}: hash does not match`,
    });

  async function verify(node: string, password: string): Promise<boolean> {
    const secret = registry.store.get(K.secrets, 'kube-system', secretName(node));
    if (!secret) return false;
    const encoded = (secret.data as Dict | undefined)?.hash;
    const hash = Buffer.from(String(encoded ?? ''), 'base64').toString();
    if (!(await verifyHash(hash, password))) throw mismatch(node);
    return true;
  }

  return {
    secretName,
    async ensure(node, password) {
      if (await verify(node, password)) return;
      const hash = await createHash(password);
      if (await verify(node, password)) return; // another request of the same node was faster
      registry.create(K.secrets, 'kube-system', {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: secretName(node) },
        immutable: true,
        data: { hash: Buffer.from(hash).toString('base64') },
        type: old ? 'Opaque' : 'k3s.cattle.io/node-password',
      });
    },
  };
}
