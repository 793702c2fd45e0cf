import { apiVersionOf, KINDS, type Kind } from '../kinds.ts';

/**
 * Just enough of `/openapi/v3` that kubectl finds each kind and sees that the server takes `fieldValidation` and
 * `dryRun`; without it kubectl would ask for the whole schema to validate by itself.
 */
export function openapi(pathname: string): unknown {
  const versions = [...new Set(KINDS.map(apiVersionOf))];
  const pathOf = (version: string) => (version.includes('/') ? `apis/${version}` : `api/${version}`);
  if (pathname === '/openapi/v3')
    return {
      paths: Object.fromEntries(
        versions.map((version) => [pathOf(version), { serverRelativeURL: `/openapi/v3/${pathOf(version)}` }]),
      ),
    };
  const version = versions.find((candidate) => pathname === `/openapi/v3/${pathOf(candidate)}`);
  if (version === undefined) return undefined;
  const kinds = KINDS.filter((kind) => apiVersionOf(kind) === version && !kind.virtual);
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: Object.fromEntries(
      kinds.map((kind) => [`/${pathOf(version)}${scope(kind)}/${kind.plural}/{name}`, operations(kind)]),
    ),
  };
}

const scope = (kind: Kind) => (kind.namespaced ? '/namespaces/{namespace}' : '');

function operations(kind: Kind) {
  const parameter = (name: string) => ({ name, in: 'query', schema: { type: 'string', uniqueItems: true } });
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };
  return {
    patch: {
      parameters: ['dryRun', 'fieldManager', 'fieldValidation', 'force'].map(parameter),
      'x-kubernetes-action': 'patch',
      'x-kubernetes-group-version-kind': gvk,
    },
  };
}
