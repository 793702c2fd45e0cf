import { AgentError } from '../core/index.ts';

/** What a token proves who we are with. */
export type Credentials =
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | { readonly kind: 'none' };

export interface Token {
  /** Hex SHA-256 the cluster's CA must have; undefined: the token says nothing about it. */
  readonly caHash: string | undefined;
  readonly credentials: Credentials;
}

const BOOTSTRAP = /^[a-z0-9]{6}\.[a-z0-9]{16}$/;

/**
 * Every form of a k3s token (pkg/clientaccess/token.go): `K10<hash>::<user>:<password>`, `K10<hash>::<bootstrap>`, a
 * bare bootstrap token, a bare password, and `K10<user>:<password>` without a hash. Throws `TOKEN_INVALID`; the text of
 * the token is in no message.
 */
export function parseToken(text: string): Token {
  if (text === '') throw wrong('the token is empty');
  let rest = text;
  if (!rest.startsWith('K10')) rest = BOOTSTRAP.test(rest) ? `K10::${rest}` : `K10:::${rest}`;
  rest = rest.slice(3);
  const at = rest.indexOf('::');
  let caHash: string | undefined;
  if (at >= 0) {
    const hash = rest.slice(0, at);
    if (hash.length !== 0 && hash.length !== 64)
      throw wrong(
        `the CA hash in the token has ${hash.length} characters instead of 64: the token was cut or mistyped`,
      );
    caHash = hash === '' ? undefined : hash;
    rest = rest.slice(at + 2);
  }
  if (BOOTSTRAP.test(rest)) return { caHash, credentials: { kind: 'bearer', token: rest } };
  const colon = rest.indexOf(':');
  if (colon < 0) throw wrong('the token has no password part: it was cut or mistyped');
  const password = rest.slice(colon + 1);
  if (password === '') throw wrong('the password in the token is empty');
  return { caHash, credentials: { kind: 'basic', user: rest.slice(0, colon), password } };
}

/** An agent always signs in as `node`, whatever user the token names (pkg/agent/run.go). */
export function asNode(credentials: Credentials): Credentials {
  return credentials.kind === 'basic' ? { ...credentials, user: 'node' } : credentials;
}

/** The whole token with the hash of the CA that was found; `caHash` is empty if the OS store vouches for the server. */
export function formatToken(caHash: string, credentials: Credentials): string {
  switch (credentials.kind) {
    case 'bearer':
      return `K10${caHash}::${credentials.token}`;
    case 'basic':
      return `K10${caHash}::${credentials.user}:${credentials.password}`;
    case 'none':
      return '';
    default:
      return credentials satisfies never;
  }
}

/** The Authorization header, or undefined when only a client certificate speaks for us. */
export function authorization(credentials: Credentials): string | undefined {
  switch (credentials.kind) {
    case 'bearer':
      return `Bearer ${credentials.token}`;
    case 'basic':
      return credentials.user === ''
        ? undefined
        : `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString('base64')}`;
    case 'none':
      return undefined;
    default:
      return credentials satisfies never;
  }
}

function wrong(message: string): AgentError {
  return new AgentError({
    code: 'TOKEN_INVALID',
    message,
    remedy: 'copy the whole line of /var/lib/rancher/k3s/server/node-token from a server',
  });
}
