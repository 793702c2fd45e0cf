import { AgentError, type Clock, orAbort } from '../../core/index.ts';
import { onceAllowed } from './allowed.ts';
import type { ReferenceApi } from './reference.ts';

/** Which token a volume wants. */
export interface TokenWish {
  podName: string;
  podUid: string;
  namespace: string;
  serviceAccount: string;
  /** Empty: the API server's own. */
  audience: string;
  expirationSeconds: number;
}

export interface ServiceToken {
  token: string;
  /** Monotonic milliseconds: when to ask again. */
  refreshAt: number;
}

/**
 * Service account tokens by TokenRequest, bound to their pod and kept until 80 % of their life or 24 hours are over
 * (kubelet pkg/kubelet/token/token_manager.go). A token that can't be renewed is given until it expires. Times are
 * counted from the answer, so a board with a wrong clock is not left without.
 */
export interface Tokens {
  /** Throws AgentError `TOKEN_REFUSED` with upstream's text. */
  get(wish: TokenWish, signal: AbortSignal): Promise<ServiceToken>;
  /** Takes over a token found on this host from before a restart, if it is the wished one and still good. */
  adopt(wish: TokenWish, token: string): void;
  forget(podUid: string): void;
}

interface TokenAnswer {
  spec?: { expirationSeconds?: number };
  status?: { token?: string };
}

interface Held {
  token: string;
  refreshAt: number;
  expiresAt: number;
}

const DAY_MS = 24 * 3600_000;
const RETRY_MS = 60_000;

export function createTokens(options: { client: ReferenceApi; clock: Clock; random?: () => number }): Tokens {
  const { client, clock, random = Math.random } = options;
  const held = new Map<string, Held>();
  const running = new Map<string, Promise<Held>>();
  const keyOf = (w: TokenWish) => [w.podUid, w.namespace, w.serviceAccount, w.expirationSeconds, w.audience].join('/');

  /** `age` and `life` in milliseconds. */
  function keep(wish: TokenWish, token: string, age: number, life: number): Held {
    const born = clock.monotonic() - age;
    const entry = {
      token,
      refreshAt: born + Math.min(life * 0.8, DAY_MS) - random() * 10_000,
      expiresAt: born + life,
    };
    held.set(keyOf(wish), entry);
    return entry;
  }

  async function request(wish: TokenWish): Promise<Held> {
    const path = `/api/v1/namespaces/${encodeURIComponent(wish.namespace)}/serviceaccounts/${encodeURIComponent(wish.serviceAccount)}/token`;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: { name: wish.serviceAccount, namespace: wish.namespace },
      spec: {
        audiences: wish.audience === '' ? [] : [wish.audience],
        expirationSeconds: wish.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: wish.podName, uid: wish.podUid },
      },
    };
    const { spec, status } = await onceAllowed(() => client.create<TokenAnswer>(path, body), clock);
    const token = status?.token;
    if (typeof token !== 'string' || token === '')
      throw new AgentError({ code: 'TOKEN_REFUSED', message: 'the server answered without a token' });
    const seconds = spec?.expirationSeconds;
    return keep(wish, token, 0, 1000 * (Number.isFinite(seconds) && seconds ? seconds : wish.expirationSeconds));
  }

  return {
    async get(wish, signal) {
      signal.throwIfAborted();
      const key = keyOf(wish);
      const old = held.get(key);
      if (old && clock.monotonic() < old.refreshAt) return old;
      const work =
        running.get(key) ??
        request(wish).finally(() => {
          running.delete(key);
        });
      running.set(key, work);
      try {
        return await orAbort(work, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        if (old && clock.monotonic() < old.expiresAt) {
          old.refreshAt = Math.min(old.expiresAt, clock.monotonic() + RETRY_MS);
          return old;
        }
        throw new AgentError({
          code: 'TOKEN_REFUSED',
          message: `failed to fetch token: ${error instanceof Error ? error.message : 'no answer'}`,
          cause: error,
        });
      }
    },
    adopt(wish, token) {
      if (held.has(keyOf(wish))) return;
      const life = lifeOf(token, wish, clock.now());
      if (life) keep(wish, token, life.age, life.length);
    },
    forget(podUid) {
      for (const key of held.keys()) if (key.startsWith(`${podUid}/`)) held.delete(key);
    },
  };
}

/** What a token says of itself; nothing is checked. */
export interface Claims {
  iat?: number;
  exp?: number;
  aud?: string[];
  'kubernetes.io'?: { pod?: { uid?: string }; warnafter?: number };
}

/** Throws for what is no token. */
export function claimsOf(token: string): Claims {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Claims;
}

/** Age and length of a token's life in milliseconds, if it is the wished one and now within it. */
function lifeOf(token: string, wish: TokenWish, now: number): { age: number; length: number } | undefined {
  try {
    const claims = claimsOf(token);
    const { iat, exp, aud } = claims;
    const own = claims['kubernetes.io'];
    if (typeof iat !== 'number' || typeof exp !== 'number' || own?.pod?.uid !== wish.podUid) return undefined;
    if (wish.audience !== '' && !aud?.includes(wish.audience)) return undefined;
    // Servers lengthen exp for old clients; warnafter is the life that was asked for.
    const end = Math.min(exp, own.warnafter ?? exp) * 1000;
    const age = now - iat * 1000;
    const length = end - iat * 1000;
    return age >= 0 && age < length ? { age, length } : undefined;
  } catch {
    return undefined;
  }
}
