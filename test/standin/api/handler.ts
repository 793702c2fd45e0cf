import type { IncomingMessage, ServerResponse } from 'node:http';
import type { User } from '../auth/identity.ts';
import { forbidden, StatusError, unauthorized, unknownPath } from '../status.ts';
import type { ApiContext, Call } from './context.ts';
import { discovery, discoveryContentType } from './discovery.ts';
import { openapi } from './openapi.ts';
import { parseResourcePath } from './request.ts';
import { sendJson, sendText } from './respond.ts';
import { serveReview } from './reviews.ts';
import { serveSubresource } from './subresources.ts';
import { attributesOf, serveVerb, verbOf } from './verbs.ts';

/** The kube-apiserver's part of the port. `user` undefined: no valid credentials. Errors are thrown as StatusError. */
export async function serveApi(
  context: ApiContext,
  request: IncomingMessage,
  response: ServerResponse,
  user: User | undefined,
): Promise<void> {
  if (user === undefined) throw unauthorized(); // k3s runs with anonymous access off
  const url = new URL(request.url ?? '/', 'https://server');
  const path = parseResourcePath(url.pathname);
  if (path !== undefined) {
    const call: Call = { request, response, user, path, query: url.searchParams };
    return serveResource(context, call);
  }
  const { allowed, reason } = context.authorize({
    user,
    verb: (request.method ?? 'GET').toLowerCase(),
    path: url.pathname,
    group: '',
    resource: '',
  });
  if (!allowed) throw new StatusError({ code: 403, reason: 'Forbidden', message: `forbidden: ${reason}`, details: {} });
  serveOther(context, request, response, url.pathname);
}

/** Authorizes and serves a request on a resource; upgrade requests come here too. */
async function serveResource(context: ApiContext, call: Call): Promise<void> {
  const { path, request, query } = call;
  const verb = verbOf(request.method ?? 'GET', path, query);
  const { allowed, reason } = context.authorize(attributesOf(call, verb));
  if (!allowed) throw forbidden(path.kind, path.name ?? '', reason);
  if (path.kind.virtual) return serveReview(context, call, verb);
  if (path.subresource !== undefined) return serveSubresource(context, call, verb);
  return serveVerb(context, call, verb);
}

function serveOther(context: ApiContext, request: IncomingMessage, response: ServerResponse, pathname: string): void {
  const value = wellKnown(context, pathname);
  const found = value === undefined ? discovery(pathname, request) : undefined;
  if (value !== undefined) sendJson(response, 200, value);
  else if (/^\/(healthz|livez|readyz)(\/|$)/.test(pathname)) sendText(response, 200, 'ok');
  else if (found !== undefined) {
    const text = JSON.stringify(found);
    response.writeHead(200, {
      'content-type': discoveryContentType(request, pathname),
      'content-length': Buffer.byteLength(text),
      vary: 'Accept',
    });
    response.end(text);
  } else if (/^\/apis?(\/|$)/.test(pathname)) throw unknownPath();
  else sendText(response, 404, '404 page not found\n');
}

function wellKnown(context: ApiContext, pathname: string): unknown {
  if (pathname === '/version') return versionInfo(context.version);
  if (pathname === '/openid/v1/jwks') return context.tokens.keys();
  return pathname.startsWith('/openapi/v3') ? openapi(pathname) : undefined;
}

function versionInfo(version: string) {
  const [, major = '1', minor = '0'] = /^v(\d+)\.(\d+)/.exec(version) ?? [];
  return {
    major,
    minor,
    gitVersion: version,
    gitCommit: '',
    gitTreeState: 'clean',
    buildDate: '2026-01-01T00:00:00Z',
    goVersion: 'go1.24',
    compiler: 'gc',
    platform: 'linux/amd64',
  };
}
