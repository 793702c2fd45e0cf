import type { User } from './identity.ts';

/** What is asked for, as authorizers see it. */
export interface Attributes {
  user: User;
  verb: string;
  /** Set for requests that are not about resources (`/version`, `/healthz`). */
  path?: string;
  group: string;
  resource: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  fieldSelector?: string;
  labelSelector?: string;
}

/** The sentence the API server refuses with. */
export function refusal(attributes: Attributes): string {
  const { user, verb, path, group, resource, subresource, namespace } = attributes;
  if (path !== undefined) return `User "${user.name}" cannot ${verb} path "${path}"`;
  const what = subresource ? `${resource}/${subresource}` : resource;
  const where = namespace ? `in the namespace "${namespace}"` : 'at the cluster scope';
  return `User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`;
}
