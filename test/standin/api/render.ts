import type { IncomingMessage } from 'node:http';
import { apiVersionOf, type Kind } from '../kinds.ts';
import type { Obj } from '../objects.ts';
import { tableFor } from '../tables/index.ts';
import { fromStored } from './event-groups.ts';

/** How a client wants objects: as they are, as rows of a table, or as metadata alone. */
export interface Rendering {
  object(kind: Kind, object: Obj): unknown;
  list(kind: Kind, objects: readonly Obj[], metadata: Record<string, unknown>): unknown;
}

const plain: Rendering = {
  object: (kind, object) => fromStored(kind, object),
  list: (kind, objects, metadata) => ({
    kind: `${kind.kind}List`,
    apiVersion: apiVersionOf(kind),
    metadata,
    items: objects.map((object) => withoutType(fromStored(kind, object))),
  }),
};

const partial: Rendering = {
  object: (_kind, object) => ({
    kind: 'PartialObjectMetadata',
    apiVersion: 'meta.k8s.io/v1',
    metadata: object.metadata,
  }),
  list: (_kind, objects, metadata) => ({
    kind: 'PartialObjectMetadataList',
    apiVersion: 'meta.k8s.io/v1',
    metadata,
    items: objects.map((object) => ({ metadata: object.metadata })),
  }),
};

function tables(include: string): Rendering {
  const wanted = (object: Obj) => {
    if (include === 'None') return undefined;
    if (include === 'Object') return object;
    return { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: object.metadata };
  };
  const table = (kind: Kind, objects: readonly Obj[], metadata: Record<string, unknown>) => {
    const { columns, row } = tableFor(kind);
    const rows = objects.map((object) => {
      const { cells, conditions } = row(object);
      const embedded = wanted(object);
      return { cells, ...(conditions ? { conditions } : {}), ...(embedded ? { object: embedded } : {}) };
    });
    return { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions: columns, rows };
  };
  return {
    object: (kind, object) => table(kind, [object], { resourceVersion: object.metadata.resourceVersion }),
    list: table,
  };
}

/** Picks the rendering by the Accept header, the first form that is known. */
export function renderingFor(request: IncomingMessage, query: URLSearchParams): Rendering {
  for (const choice of (request.headers.accept ?? '').split(',')) {
    const parameters = new Map(choice.split(';').map((part) => part.trim().split('=') as [string, string]));
    if (!choice.trim().startsWith('application/json') && !choice.trim().startsWith('*/*')) continue;
    const form = parameters.get('as');
    if (form === undefined) return plain;
    if (parameters.get('v') !== 'v1') continue;
    if (form === 'Table') return tables(query.get('includeObject') ?? 'Metadata');
    if (form === 'PartialObjectMetadata' || form === 'PartialObjectMetadataList') return partial;
  }
  return plain;
}

function withoutType(object: Obj): Partial<Obj> {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return rest;
}
