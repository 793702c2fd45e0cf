import type { Store } from '../storage.ts';
import { type Attributes, refusal } from './attributes.ts';
import { nodeOf } from './identity.ts';
import { nodeRefusal } from './node-authorizer.ts';
import { rbacAllows } from './rbac.ts';

export interface Decision {
  allowed: boolean;
  /** Why not; the whole sentence as the API server ends it. */
  reason: string;
}

/** The API server's chain: masters, the Node authorizer, RBAC. */
export function createAuthorizer(deps: { store: Store; nodeSelectors: boolean }): (a: Attributes) => Decision {
  return (attributes) => {
    if (attributes.user.groups.includes('system:masters')) return { allowed: true, reason: '' };
    const node = attributes.path === undefined ? nodeOf(attributes.user) : undefined;
    let why = '';
    if (node !== undefined) {
      const { store, nodeSelectors } = deps;
      const refused = nodeRefusal({ store, node, attributes, selectors: nodeSelectors });
      if (refused === undefined) return { allowed: true, reason: '' };
      why = refused;
    }
    if (rbacAllows(deps.store, attributes)) return { allowed: true, reason: '' };
    return { allowed: false, reason: why ? `${refusal(attributes)}: ${why}` : refusal(attributes) };
  };
}
