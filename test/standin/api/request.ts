import type { IncomingMessage } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { findKind, type Kind } from '../kinds.ts';
import { isDict, type Obj } from '../objects.ts';
import { decodeBody } from '../protobuf/decode.ts';
import { badRequest, StatusError, unsupportedMediaType } from '../status.ts';

/** Where a request to `/api` or `/apis` points. */
export interface ResourcePath {
  kind: Kind;
  namespace?: string;
  name?: string;
  subresource?: string;
  /** What follows the sub-resource, for proxies: with its leading slash, or empty. */
  rest: string;
}

/** Undefined when the path is not that of a known resource. */
export function parseResourcePath(pathname: string): ResourcePath | undefined {
  const parts = pathname.split('/').slice(1);
  const core = parts[0] === 'api';
  if (!core && parts[0] !== 'apis') return undefined;
  const group = core ? '' : (parts[1] ?? '');
  const version = core ? parts[1] : parts[2];
  let rest = parts.slice(core ? 2 : 3).map(decodeURIComponent);
  let namespace: string | undefined;
  if (rest[0] === 'namespaces' && rest.length > 2 && !(core && ['status', 'finalize'].includes(rest[2] ?? ''))) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const kind = findKind(group, rest[0] ?? '');
  if (!kind || kind.version !== version || (namespace !== undefined && !kind.namespaced)) return undefined;
  const [, name, subresource, ...more] = rest;
  return {
    kind,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name ? { name } : {}),
    ...(subresource ? { subresource } : {}),
    rest: more.length > 0 ? `/${more.join('/')}` : '',
  };
}

/** Larger bodies are refused, as by the API server. */
const MAX_BODY = 3 * 1024 * 1024;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY)
      throw new StatusError({
        code: 413,
        reason: 'RequestEntityTooLarge',
        message: `Request entity too large: limit is ${MAX_BODY}`,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The body of a request as a value; undefined if there is none. */
export async function readValue(request: IncomingMessage): Promise<unknown> {
  const body = await readBody(request);
  if (body.length === 0) return undefined;
  const type = (request.headers['content-type'] ?? 'application/json').split(';')[0]?.trim() ?? '';
  try {
    if (type === 'application/yaml' || type === 'application/apply-patch+yaml') return parseYaml(body.toString('utf8'));
    if (type === 'application/vnd.kubernetes.protobuf') return decodeBody(body);
    if (type.endsWith('json') || type === '') return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
  throw unsupportedMediaType('application/json, application/yaml, application/vnd.kubernetes.protobuf');
}

export function asObject(value: unknown, kind: string): Obj {
  if (!isDict(value)) throw badRequest(`the request body is not a ${kind}`);
  if (value.metadata !== undefined && value.metadata !== null && !isDict(value.metadata))
    throw badRequest(`${kind} cannot be handled: metadata is not an object`);
  return { ...value, metadata: (value.metadata ?? {}) as Obj['metadata'] } as Obj;
}

export function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true' || value === '';
}
