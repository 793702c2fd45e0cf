import type { ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, Subject } from 'kubernetes-types/rbac/v1.d.ts';
import { K } from '../kinds.ts';
import { as } from '../objects.ts';
import type { Store } from '../storage.ts';
import type { Attributes } from './attributes.ts';
import type { User } from './identity.ts';

/** RBAC over the stored roles and bindings, without aggregation. */
export function rbacAllows(store: Store, attributes: Attributes): boolean {
  const { user, namespace } = attributes;
  for (const object of store.list(K.clusterRoleBindings)) {
    const binding = as<ClusterRoleBinding>(object);
    if (!binding.subjects?.some((subject) => isSubject(subject, user))) continue;
    if (rulesOf(store, undefined, binding.roleRef).some((rule) => ruleAllows(rule, attributes))) return true;
  }
  if (!namespace) return false;
  for (const object of store.list(K.roleBindings, namespace)) {
    const binding = as<RoleBinding>(object);
    if (!binding.subjects?.some((subject) => isSubject(subject, user, namespace))) continue;
    if (rulesOf(store, namespace, binding.roleRef).some((rule) => ruleAllows(rule, attributes))) return true;
  }
  return false;
}

function rulesOf(store: Store, namespace: string | undefined, reference: { kind: string; name: string }): PolicyRule[] {
  const role =
    reference.kind === 'ClusterRole'
      ? store.get(K.clusterRoles, undefined, reference.name)
      : store.get(K.roles, namespace, reference.name);
  return role ? (as<ClusterRole>(role).rules ?? []) : [];
}

function isSubject(subject: Subject, user: User, namespace?: string): boolean {
  if (subject.kind === 'User') return subject.name === user.name;
  if (subject.kind === 'Group') return user.groups.includes(subject.name);
  return user.name === `system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`;
}

function ruleAllows(rule: PolicyRule, attributes: Attributes): boolean {
  if (!includes(rule.verbs, attributes.verb)) return false;
  if (attributes.path !== undefined) {
    const path = attributes.path;
    return (rule.nonResourceURLs ?? []).some((url) =>
      url.endsWith('*') ? path.startsWith(url.slice(0, -1)) : path === url,
    );
  }
  const { resource, subresource } = attributes;
  const full = subresource ? `${resource}/${subresource}` : resource;
  const resources = rule.resources ?? [];
  const named =
    resources.includes('*') || resources.includes(full) || (subresource && resources.includes(`*/${subresource}`));
  if (!named || !includes(rule.apiGroups ?? [], attributes.group)) return false;
  return !rule.resourceNames?.length || (attributes.name !== undefined && rule.resourceNames.includes(attributes.name));
}

const includes = (list: readonly string[], value: string) => list.includes('*') || list.includes(value);
