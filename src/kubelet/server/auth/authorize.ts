import { AgentError, type Clock, describeError } from '../../../core/index.ts';
import { isTransient, type KubeClient } from '../../../kube/index.ts';
import type { NodeAttributes } from './attributes.ts';
import type { Identity } from './identity.ts';
import { TtlCache } from './ttl-cache.ts';

/** k3s's kubelet configuration: authorization.webhook.cacheAuthorizedTTL and cacheUnauthorizedTTL. */
const ALLOWED_MS = 300_000;
const DENIED_MS = 30_000;
const ENTRIES = 1024;
/** Callers with absurdly many groups are asked about each time instead of filling the memory. */
const MAX_KEY = 10_000;
const TIMEOUT_MS = 10_000;
const MASTERS_TIMEOUT_MS = 3_000;
const MASTERS = 'system:masters';

/**
 * True if the caller may. Throws `KUBELET_AUTHORIZATION` when that can't be found out; its message is the text for the
 * caller.
 */
export type Authorizer = (identity: Identity, attributes: NodeAttributes) => Promise<boolean>;

/**
 * Asks the API server (SubjectAccessReview). A client certificate of group system:masters is let in also while the
 * question gets no answer: the API server itself allows that group everything before it looks at any role, so the
 * answer is known, and it is how kube-apiserver's own logs/exec requests keep working when this node reaches them
 * through the tunnel but not its API (a load balancer changing over, an overloaded server). Tokens never get this.
 */
export function authorizer(init: { kube: Pick<KubeClient, 'create'>; nodeName: string; clock: Clock }): Authorizer {
  const { kube, nodeName, clock } = init;
  const cache = new TtlCache<boolean>(ENTRIES, clock);
  const running = new Map<string, Promise<boolean>>();

  const review = async (identity: Identity, verb: string, subresource: string): Promise<boolean> => {
    const { user, uid, groups, extra } = identity;
    const master = identity.via === 'certificate' && groups.includes(MASTERS);
    try {
      const answer = await kube.create<{ status?: { allowed?: boolean; denied?: boolean } } | undefined>(
        '/apis/authorization.k8s.io/v1/subjectaccessreviews',
        {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SubjectAccessReview',
          spec: {
            user,
            ...(uid ? { uid } : {}),
            groups,
            ...(extra ? { extra } : {}),
            resourceAttributes: { verb, version: 'v1', resource: 'nodes', subresource, name: nodeName },
          },
        },
        { timeoutMs: master ? MASTERS_TIMEOUT_MS : TIMEOUT_MS },
      );
      return answer?.status?.allowed === true && answer.status.denied !== true;
    } catch (error) {
      if (master && isTransient(error)) return true;
      throw new AgentError({
        code: 'KUBELET_AUTHORIZATION',
        message: `Authorization error (user=${user}, verb=${verb}, resource=nodes, subresource=${subresource}): ${describeError(error)}`,
        cause: error,
      });
    }
  };

  const one = (identity: Identity, verb: string, subresource: string): Promise<boolean> => {
    const { user, uid, groups, extra, via } = identity;
    const key = JSON.stringify([user, uid, groups, extra, via, verb, subresource]);
    const cached = cache.get(key);
    if (cached !== undefined) return Promise.resolve(cached);
    const pending = running.get(key);
    if (pending !== undefined) return pending;
    const asked = review(identity, verb, subresource)
      .then((allowed) => {
        if (key.length <= MAX_KEY) cache.set(key, allowed, allowed ? ALLOWED_MS : DENIED_MS);
        return allowed;
      })
      .finally(() => running.delete(key));
    running.set(key, asked);
    return asked;
  };

  return async (identity, { verb, subresources }) => {
    if (verb === '') return false;
    for (const subresource of subresources) if (await one(identity, verb, subresource)) return true;
    return false;
  };
}

/** The kubelet's text of a refusal. */
export function forbiddenText(identity: Identity, { verb, subresources }: NodeAttributes): string {
  return `Forbidden (user=${identity.user}, verb=${verb}, resource=nodes, subresource(s)=[${subresources.join(' ')}])\n`;
}
