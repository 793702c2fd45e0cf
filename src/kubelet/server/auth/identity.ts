/** Who a request comes from. `groups` always ends with `system:authenticated`. */
export interface Identity {
  user: string;
  uid?: string;
  groups: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
  via: 'certificate' | 'token';
}

const AUTHENTICATED = 'system:authenticated';

/** The groups of an identity: each once, with the one every authenticated caller has. */
export function withAuthenticated(groups: readonly string[]): string[] {
  return [...new Set([...groups.filter((g) => g !== AUTHENTICATED), AUTHENTICATED])];
}
