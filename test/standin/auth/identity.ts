import type { TLSSocket } from 'node:tls';

/** Who a request comes from, as the API server's authenticators would say. */
export interface User {
  name: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

/** The identity of a client certificate; undefined without one, `invalid` if the client CA did not sign it. */
export function certificateUser(socket: TLSSocket): User | 'invalid' | undefined {
  const peer = socket.getPeerX509Certificate?.();
  if (!peer) return undefined;
  if (!socket.authorized || Date.parse(peer.validTo) < Date.now()) return 'invalid';
  const fields = peer.subject.split('\n').map((line) => {
    const at = line.indexOf('=');
    return [line.slice(0, at), line.slice(at + 1)] as const;
  });
  const values = (type: string) => fields.filter(([name]) => name === type).map(([, value]) => value);
  const name = values('CN')[0];
  return name ? { name, groups: [...values('O'), 'system:authenticated'] } : 'invalid';
}

/** The node a user is, for `system:node:<name>` in group system:nodes. */
export function nodeOf(user: User): string | undefined {
  return user.name.startsWith('system:node:') && user.groups.includes('system:nodes')
    ? user.name.slice('system:node:'.length)
    : undefined;
}
