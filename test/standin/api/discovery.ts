import type { IncomingMessage } from 'node:http';
import { KINDS, type Kind, STANDARD_VERBS, type Subresource } from '../kinds.ts';

/** The answer to a discovery path, or undefined if the path is none. */
export function discovery(pathname: string, request: IncomingMessage): unknown {
  const aggregated = aggregatedVersion(request.headers.accept ?? '');
  const path = pathname.replace(/\/$/, '');
  if (path === '/api') {
    if (aggregated) return aggregate(aggregated, ['']);
    return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  }
  if (path === '/apis') {
    const groups = groupNames();
    if (aggregated) return aggregate(aggregated, groups);
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupEntry) };
  }
  if (path === '/api/v1') return resourceList('', 'v1');
  const [, apis, group = '', version, ...rest] = path.split('/');
  if (apis !== 'apis' || rest.length > 0 || !groupNames().includes(group)) return undefined;
  if (version === undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(group) };
  return version === 'v1' ? resourceList(group, version) : undefined;
}

function aggregatedVersion(accept: string): string | undefined {
  for (const choice of accept.split(','))
    if (choice.includes('as=APIGroupDiscoveryList')) {
      const version = /v=(v2beta1|v2)\b/.exec(choice)?.[1];
      if (version) return version;
    }
  return undefined;
}

/** The content type aggregated discovery must be answered with, else clients take it for the old form. */
export function discoveryContentType(request: IncomingMessage, pathname: string): string {
  const version = aggregatedVersion(request.headers.accept ?? '');
  return version && /^\/apis?\/?$/.test(pathname)
    ? `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
    : 'application/json';
}

function groupNames(): string[] {
  return [...new Set(KINDS.map((kind) => kind.group))].filter((group) => group !== '');
}

function groupEntry(group: string) {
  const version = { groupVersion: `${group}/v1`, version: 'v1' };
  return { name: group, versions: [version], preferredVersion: version };
}

function verbsOf(kind: Kind): readonly string[] {
  if (kind.virtual) return ['create'];
  return kind.kind === 'Namespace' ? STANDARD_VERBS.filter((verb) => verb !== 'deletecollection') : STANDARD_VERBS;
}

function resourceList(group: string, version: string) {
  const resources = KINDS.filter((kind) => kind.group === group).flatMap((kind) => [
    {
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs: verbsOf(kind),
      ...(kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}),
      ...(kind.categories.length > 0 ? { categories: kind.categories } : {}),
    },
    ...kind.subresources.map((sub) => ({
      name: `${kind.plural}/${sub.name}`,
      singularName: '',
      namespaced: kind.namespaced,
      ...(sub.group ? { group: sub.group, version: sub.version } : {}),
      kind: sub.kind,
      verbs: sub.verbs,
    })),
  ]);
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: group ? `${group}/${version}` : version,
    resources,
  };
}

function aggregate(version: string, groups: readonly string[]) {
  const items = groups.map((group) => {
    const resources = KINDS.filter((kind) => kind.group === group).map(aggregatedResource);
    return {
      metadata: group ? { name: group } : {},
      versions: [{ version: 'v1', freshness: 'Current', resources }],
    };
  });
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
}

function aggregatedResource(kind: Kind) {
  const { shortNames, categories } = kind;
  const subresources = kind.subresources.map(aggregatedSubresource);
  return {
    resource: kind.plural,
    responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: verbsOf(kind),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}

function aggregatedSubresource({ name, kind, verbs, group = '', version = '' }: Subresource) {
  return { subresource: name, responseKind: { group, version, kind }, verbs };
}
