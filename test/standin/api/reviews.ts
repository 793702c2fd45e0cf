import type { User } from '../auth/identity.ts';
import { API_AUDIENCES } from '../auth/service-account-tokens.ts';
import { type Dict, isDict } from '../objects.ts';
import { badRequest, methodNotAllowed } from '../status.ts';
import type { ApiContext, Call } from './context.ts';
import { asObject, readValue } from './request.ts';
import { sendJson } from './respond.ts';

/** TokenReview, the access reviews and SelfSubjectReview: asked, answered, never stored. */
export async function serveReview(context: ApiContext, call: Call, verb: string): Promise<void> {
  if (verb !== 'create') throw methodNotAllowed();
  const { kind } = call.path;
  const review = asObject(await readValue(call.request), kind.kind);
  const spec = isDict(review.spec) ? review.spec : {};
  const status = answer(context, call, kind.kind, spec);
  sendJson(call.response, 201, {
    kind: kind.kind,
    apiVersion: `${kind.group}/v1`,
    metadata: review.metadata,
    spec,
    status,
  });
}

function answer(context: ApiContext, call: Call, kind: string, spec: Dict): Dict {
  switch (kind) {
    case 'TokenReview': {
      const audiences = Array.isArray(spec.audiences) && spec.audiences.length > 0 ? spec.audiences : API_AUDIENCES;
      const found = context.tokens.authenticate(String(spec.token ?? ''), audiences as string[]);
      if (!found) return { user: {}, error: '[invalid bearer token, token lookup failed]' };
      return { authenticated: true, user: userInfo(found.user), audiences: found.audiences };
    }
    case 'SelfSubjectReview':
      return { userInfo: userInfo(call.user) };
    case 'SelfSubjectAccessReview':
      return access(context, call.user, spec);
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview': {
      const groups = Array.isArray(spec.groups) ? (spec.groups as string[]) : [];
      if (!spec.user && groups.length === 0)
        throw badRequest('spec.user: Invalid value: "": at least one of user or group must be specified');
      return access(context, { name: String(spec.user ?? ''), groups }, spec);
    }
    default:
      throw methodNotAllowed();
  }
}

function access(context: ApiContext, user: User, spec: Dict): Dict {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  const resource = isDict(spec.resourceAttributes) ? spec.resourceAttributes : undefined;
  const other = isDict(spec.nonResourceAttributes) ? spec.nonResourceAttributes : undefined;
  if (!resource && !other)
    throw badRequest('exactly one of nonResourceAttributes or resourceAttributes must be specified');
  const optional = (field: string, value: string | undefined) => (value === undefined ? {} : { [field]: value });
  const { allowed, reason } = context.authorize(
    resource
      ? {
          user,
          verb: text(resource.verb) ?? '',
          group: text(resource.group) ?? '',
          resource: text(resource.resource) ?? '',
          ...optional('subresource', text(resource.subresource)),
          ...optional('namespace', text(resource.namespace)),
          ...optional('name', text(resource.name)),
        }
      : { user, verb: text(other?.verb) ?? '', path: text(other?.path) ?? '', group: '', resource: '' },
  );
  return { allowed, ...(allowed || !reason ? {} : { reason }) };
}

function userInfo(user: User): Dict {
  return {
    username: user.name,
    ...(user.uid ? { uid: user.uid } : {}),
    groups: user.groups,
    ...(user.extra ? { extra: user.extra } : {}),
  };
}
