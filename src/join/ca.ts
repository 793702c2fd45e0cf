import type { Logger } from '../core/index.ts';
import { caHash } from './ca-hash.ts';
import { connectionFailure, JoinFailure } from './failure.ts';
import { statusFailure } from './supervisor.ts';
import { type Answer, createTransport, type Trust } from './transport.ts';

/** Whom to believe from now on. `hash` is that of the bundle, '' when the operating system vouches for the server. */
export interface Anchor {
  readonly trust: Trust;
  readonly hash: string;
}

export interface FindAnchorOptions {
  readonly dialUrl: string;
  /** From the token; undefined: believe the first CA that is met. */
  readonly expectedHash: string | undefined;
  readonly userAgent: string;
  readonly now: number;
  readonly log: Logger;
  readonly signal?: AbortSignal;
}

/**
 * Fetches the cluster's CA bundle and checks it against the token. As in k3s (pkg/clientaccess getCACerts) a server
 * whose certificate the operating system trusts is accepted without it. The original asks in the order OS store,
 * unverified, verified; here the bundle comes first and the next request on the pinned connection is its verification,
 * which saves two handshakes on the way to every join. What is accepted is the same.
 */
export async function findAnchor(options: FindAnchorOptions): Promise<Anchor> {
  const { dialUrl, expectedHash, now } = options;
  const answer = await get(options, { kind: 'none' });
  if (answer.status !== 200) throw statusFailure(answer, '/cacerts', dialUrl);
  const hash = caHash(answer.body, now);
  if (hash === undefined) {
    if (await systemTrusts(options)) return { trust: { kind: 'system' }, hash: '' };
    throw new JoinFailure({
      step: 'proxy',
      message: `what answers at ${dialUrl} sends no CA certificates: it is not a k3s server`,
      remedy: 'check --server, and whether a proxy or the login page of a network stands between',
    });
  }
  if (expectedHash === undefined || expectedHash === hash)
    return { trust: { kind: 'pinned', ca: answer.body.toString('utf8') }, hash };
  if (await systemTrusts(options)) {
    options.log.warn("the host's CA store vouches for the server; the CA hash in the token was not checked");
    return { trust: { kind: 'system' }, hash: '' };
  }
  throw new JoinFailure({
    step: 'tls-ca',
    message: `the server has another CA than the token says (hash ${hash.slice(0, 12)}…, expected ${expectedHash.slice(0, 12)}…)`,
    remedy:
      'this is a server of another cluster, or it was installed anew: take the token from its /var/lib/rancher/k3s/server/node-token, and make sure that nobody stands between',
  });
}

/** True if the server's certificate is valid by the operating system's CA store. */
export async function systemTrusts(options: FindAnchorOptions): Promise<boolean> {
  try {
    const answer = await get(options, { kind: 'system' });
    return answer.status === 200;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    return false;
  }
}

async function get(options: FindAnchorOptions, trust: Trust): Promise<Answer> {
  const transport = createTransport({ baseUrl: options.dialUrl, trust, userAgent: options.userAgent });
  try {
    return await transport.call({ path: '/cacerts', ...(options.signal ? { signal: options.signal } : {}) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw connectionFailure(error, options.dialUrl);
  } finally {
    transport.close();
  }
}
