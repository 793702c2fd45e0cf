import { createHash } from 'node:crypto';
import { type Clock, describeError, type Logger, Semaphore } from '../../../core/index.ts';
import type { KubeClient } from '../../../kube/index.ts';
import { type Identity, withAuthenticated } from './identity.ts';
import { TtlCache } from './ttl-cache.ts';

/** k3s's kubelet configuration: authentication.webhook.cacheTTL. */
const GOOD_MS = 120_000;
/** A refused token is not asked about again for a moment; a token made a second ago must not wait for long. */
const BAD_MS = 10_000;
const ENTRIES = 512;
const AT_ONCE = 8;
const TIMEOUT_MS = 10_000;

interface TokenReview {
  status?: {
    authenticated?: boolean;
    user?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
  };
}

/** Resolves bearer tokens to identities; undefined = not accepted, or nobody to ask. */
export type TokenReviewer = (token: string) => Promise<Identity | undefined>;

/** Asks the API server (TokenReview); answers are kept under the token's SHA-256, so no token stays in memory. */
export function tokenReviewer(init: { kube: Pick<KubeClient, 'create'>; clock: Clock; log: Logger }): TokenReviewer {
  const { kube, clock, log } = init;
  const cache = new TtlCache<Identity | null>(ENTRIES, clock);
  const running = new Map<string, Promise<Identity | undefined>>();
  const slots = new Semaphore(AT_ONCE);

  const review = async (key: string, token: string): Promise<Identity | undefined> => {
    try {
      const answer = await slots.run(() =>
        kube.create<TokenReview | undefined>(
          '/apis/authentication.k8s.io/v1/tokenreviews',
          { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
          { timeoutMs: TIMEOUT_MS },
        ),
      );
      const identity = identityOf(answer);
      cache.set(key, identity ?? null, identity === undefined ? BAD_MS : GOOD_MS);
      return identity;
    } catch (error) {
      log.warn('a bearer token could not be reviewed', { error: describeError(error) });
      return undefined;
    }
  };

  return (token) => {
    const key = createHash('sha256').update(token).digest('base64');
    const cached = cache.get(key);
    if (cached !== undefined) return Promise.resolve(cached ?? undefined);
    const pending = running.get(key) ?? review(key, token).finally(() => running.delete(key));
    running.set(key, pending);
    return pending;
  };
}

function identityOf(review: TokenReview | undefined): Identity | undefined {
  const user = review?.status?.authenticated === true ? review.status.user : undefined;
  if (typeof user?.username !== 'string' || user.username === '') return undefined;
  const groups = Array.isArray(user.groups) ? user.groups.filter((g) => typeof g === 'string') : [];
  return {
    user: user.username,
    ...(typeof user.uid === 'string' && user.uid !== '' ? { uid: user.uid } : {}),
    groups: withAuthenticated(groups),
    ...(user.extra ? { extra: user.extra } : {}),
    via: 'token',
  };
}

/** The token of an `Authorization: Bearer …` header, undefined if there is none. */
export function bearerToken(header: string | undefined): string | undefined {
  const [scheme = '', token = ''] = (header ?? '').trim().split(' ', 3);
  return scheme.toLowerCase() === 'bearer' && token !== '' ? token : undefined;
}
