import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { certificateUser, type User } from '../auth/identity.ts';
import { API_AUDIENCES, type TokenIssuer } from '../auth/service-account-tokens.ts';
import { K } from '../kinds.ts';
import type { Dict } from '../objects.ts';
import type { Settings } from '../options.ts';
import type { Store } from '../storage.ts';

export interface Authenticators {
  /** Who may use the supervisor: passwords, client certificates, bearer tokens. `rejected`: wrong credentials. */
  supervisor(request: IncomingMessage): User | 'rejected' | undefined;
  /** Who may use the Kubernetes API: the same without passwords. Undefined: nobody known. */
  api(request: IncomingMessage): User | undefined;
}

export function createAuthenticators(deps: { settings: Settings; store: Store; tokens: TokenIssuer }): Authenticators {
  const { settings, store, tokens } = deps;
  const passwords = new Map([
    ['node', { password: settings.agentToken, groups: ['k3s:agent'] }],
    ['server', { password: settings.token, groups: ['k3s:server'] }],
  ]);

  function basic(request: IncomingMessage): User | 'rejected' | undefined {
    const encoded = /^Basic\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (encoded === undefined) return undefined;
    const text = Buffer.from(encoded, 'base64').toString();
    const at = text.indexOf(':');
    const found = passwords.get(text.slice(0, at));
    if (!found || !same(found.password, text.slice(at + 1))) return 'rejected';
    return { name: text.slice(0, at), groups: [...found.groups, 'system:authenticated'] };
  }

  function bearer(request: IncomingMessage): User | 'rejected' | undefined {
    const token = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    return (
      tokens.authenticate(token, API_AUDIENCES)?.user ??
      (settings.minor >= 24 ? bootstrapUser(store, token) : undefined) ??
      'rejected'
    );
  }

  const certificate = (request: IncomingMessage): User | 'rejected' | undefined => {
    const user = certificateUser(request.socket as TLSSocket);
    return user === 'invalid' ? 'rejected' : user;
  };

  return {
    supervisor(request) {
      // A union: the first that knows the client decides; a wrong one counts only if none does.
      const answers = [basic(request), certificate(request), bearer(request)];
      const known = answers.find((answer) => answer !== undefined && answer !== 'rejected');
      return known ?? (answers.includes('rejected') ? 'rejected' : undefined);
    },
    api(request) {
      const answers = [certificate(request), bearer(request)];
      return answers.find((answer) => typeof answer === 'object');
    },
  };
}

/** The user of a bootstrap token (`abcdef.0123456789abcdef`) that is kept as a Secret in kube-system. */
function bootstrapUser(store: Store, token: string): User | undefined {
  const [, id, secret = ''] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? [];
  if (id === undefined) return undefined;
  const found = store.get(K.secrets, 'kube-system', `bootstrap-token-${id}`);
  if (found?.type !== 'bootstrap.kubernetes.io/token' || found.metadata.deletionTimestamp) return undefined;
  const value = (key: string) =>
    Buffer.from(String((found.data as Dict | undefined)?.[key] ?? ''), 'base64').toString();
  if (value('token-id') !== id || !same(value('token-secret'), secret)) return undefined;
  if (value('usage-bootstrap-authentication') !== 'true') return undefined;
  const expiration = value('expiration');
  if (expiration && Date.parse(expiration) < Date.now()) return undefined;
  const extra = value('auth-extra-groups')
    .split(',')
    .filter((group) => group.startsWith('system:bootstrappers:'));
  return { name: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...extra, 'system:authenticated'] };
}

function same(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}
